// The library's pool of processes, told when to start one, and watched.
//
// The pool asks a mutex for leave before it starts a process (ipc/proc_pool.ts `run`). Here that is one that knows how
// many there should be. It also keeps versions before 1.2.8 from losing a place for good when two calls come together,
// and from waiting for ever for a process that died or hung before it was warm.
import { CASE, exitWords } from './sessions.mjs';

export const PAUSE = 2; // seconds from a call to the next start of an idle process (runner/refill.py)
const LONGEST_PAUSE = 30; // seconds after processes that never became warm
const MARGIN = 5; // seconds that a process has beyond what the library gives it
const LIMITS = [0.1, 0.5, 1, 2, 5, 10];

const now = () => performance.now() / 1000;

/** Governs a ProcPool of @livekit/agents; to be made before the pool starts. */
export class Processes {
  #pool;
  #guard;
  #idleProcesses;
  #sessions;
  #gone = new WeakSet();
  #warm = new Set();
  #closing = new WeakSet();
  #early = new Set();
  #launching = 0;
  #failures = 0;
  #pausedUntil = 0;
  #pokes = [];

  constructor(pool, guard, sessions, idleProcesses) {
    this.#pool = pool;
    this.#guard = guard;
    this.#sessions = sessions;
    this.#idleProcesses = idleProcesses;
    this.problem = undefined; // why the last process that did not become warm did not
    this.everWarm = 0;
    this.initialized = { buckets: LIMITS.map((limit) => [limit, 0]), sum: 0 };
  }

  get count() {
    return this.#pool.executors.filter((executor) => !this.#gone.has(executor)).length;
  }

  get warm() {
    return this.#warm.size;
  }

  /** Whether as many processes as should idle were warm once; stays true after that. */
  get warmedUp() {
    return this.everWarm >= this.#idleProcesses;
  }

  /** Have the pool start processes as it is told here. */
  govern() {
    const pool = this.#pool;
    pool.procMutex = { lock: () => this.#leave() };
    const { procWatchTask, launchJob } = pool;
    pool.procWatchTask = (...args) => {
      // the library waits for its end alone
      const task = procWatchTask.apply(pool, args);
      this.#watch(pool.executors.at(-1));
      return task;
    };
    const { put } = pool.warmedProcQueue;
    pool.warmedProcQueue.put = (item) => {
      this.#onWarm(typeof item.unlock === 'function' ? item.proc : item);
      return put.call(pool.warmedProcQueue, item);
    };
    pool.launchJob = (info) => this.#launch(info, () => launchJob.call(pool, info));
  }

  /** End jobs that are cancelled before they have a process: the library forgets such a request. */
  heedTerminations() {
    const pool = this.#pool;
    const { getByJobId } = pool;
    pool.getByJobId = (id) => {
      // asked by nothing but terminations (worker.ts `#termination`)
      if (this.#guard.isPromised(id)) this.#early.add(id);
      return getByJobId.call(pool, id);
    };
  }

  /** Look again whether there should be more processes. */
  poke() {
    for (const resolve of this.#pokes.splice(0)) resolve();
  }

  /** How many processes without a job there should be now; more than that are left alone. */
  wanted() {
    if (now() < this.#pausedUntil) return this.#launching;
    return Math.max(Math.min(this.#idleProcesses, this.#guard.free), this.#launching);
  }

  /** Kill what is left. */
  kill() {
    for (const { proc } of this.#pool.executors) proc?.kill?.('SIGKILL');
  }

  async #leave() {
    for (;;) {
      const idle = this.#pool.executors.filter((executor) => !executor.runningJob && !this.#gone.has(executor));
      if (!this.#pool.closed && this.wanted() > idle.length) return () => {};
      await new Promise((resolve) => this.#pokes.push(resolve));
    }
  }

  #pause(seconds) {
    this.#pausedUntil = now() + seconds;
    setTimeout(() => this.poke(), 1000 * seconds + 10).unref();
  }

  async #launch(info, launch) {
    const { job } = info;
    this.#guard.assigned(job.id);
    this.#launching += 1;
    this.poke();
    try {
      await launch();
      const executor = this.#pool.executors.find((one) => one.runningJob?.job.id === job.id);
      this.#warm.delete(executor);
      this.#sessions.onLaunched(job);
      if (!executor || this.#gone.has(executor)) this.#sessions.onEnded(job.id, 'its process ended before it began');
      else if (this.#early.has(job.id)) executor.close();
      // a pause that calls do not prolong
      if (now() >= this.#pausedUntil) this.#pause(PAUSE);
    } finally {
      this.#early.delete(job.id);
      this.#launching -= 1;
      this.#guard.release(job.id);
      this.poke();
    }
  }

  #watch(executor) {
    if (!executor) return;
    const { start, run, close } = executor;
    const began = now();
    // before 1.4 nobody takes care of what it throws, which ends the worker with all its calls
    executor.run = (...args) => run.apply(executor, args).catch(() => {});
    executor.start = async (...args) => {
      await start.apply(executor, args);
      this.#follow(executor, executor.proc, began);
    };
    executor.close = (...args) => {
      this.#closing.add(executor);
      // SIGTERM, which is what it gets from some versions, is not heard by a job's process
      const { closeTimeout, sessionEndTimeout = 0 } = this.#pool;
      setTimeout(() => executor.proc?.kill('SIGKILL'), closeTimeout + sessionEndTimeout + 1000 * MARGIN).unref();
      return close.apply(executor, args);
    };
  }

  #follow(executor, child, began) {
    const limit = this.#pool.initializeTimeout;
    // newer versions do so themselves
    const late = setTimeout(() => child.kill('SIGKILL'), limit + 250);
    const started = now();
    late.unref();
    executor.warmed = () => {
      clearTimeout(late);
      this.#observe(now() - began);
    };
    child.on('message', (message) => {
      const id = executor.runningJob?.job.id;
      if (message?.case === CASE && id !== undefined) this.#sessions.onMessage(id, message.value);
    });
    child.once('exit', (code, signal) => {
      clearTimeout(late);
      if (signal && now() - started >= limit / 1000) {
        executor.late = `the last one took longer than ${limit / 1000} s; spec.initializeTimeoutSeconds gives it more`;
      }
      this.#onExit(executor, child, code, signal);
    });
  }

  #onWarm(executor) {
    executor.warmed?.();
    this.#warm.add(executor);
    this.everWarm += 1;
    this.#failures = 0;
    this.problem = undefined;
  }

  #onExit(executor, child, code, signal) {
    const wasWarm = this.#warm.delete(executor);
    this.#gone.add(executor);
    const { items } = this.#pool.warmedProcQueue;
    const queued = items.findIndex((item) => item === executor || item.proc === executor);
    if (queued !== -1) items.splice(queued, 1);
    const id = executor.runningJob?.job.id;
    if (id !== undefined) {
      const exit = this.#closing.has(executor) ? undefined : exitWords(code, signal);
      // what it said last may not have been read yet
      const finish = once(() => {
        this.#sessions.onEnded(id, exit);
        this.#guard.onChange();
        this.poke();
      });
      if (!child.connected) finish();
      else {
        child.once('disconnect', () => setImmediate(finish));
        setTimeout(finish, 500).unref();
      }
    } else if (!wasWarm && !this.#closing.has(executor)) {
      const how = signal ? `was ended by ${signal}` : `ended with exit code ${code}`;
      this.problem = executor.late ?? `the last one ${how} before it was warm`;
      this.#failures += 1;
      this.#pause(Math.min(2 ** (this.#failures - 1), LONGEST_PAUSE));
      // whoever waits for its first words goes on: this is none of them (ipc/supervised_proc.ts `initialize`)
      setImmediate(() => child.emit('message', { case: 'exiting', value: {} }));
    }
    this.poke();
  }

  #observe(seconds) {
    this.initialized.sum += seconds;
    for (const bucket of this.initialized.buckets) bucket[1] += seconds <= bucket[0] ? 1 : 0;
  }
}

function once(step) {
  let done = false;
  return () => {
    if (!done) step();
    done = true;
  };
}
