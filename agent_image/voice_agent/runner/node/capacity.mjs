// The hard cap on sessions: a worker never takes one more than it was given.

// The library waits 7.5 s for the server to assign what was accepted (worker.ts ASSIGNMENT_TIMEOUT).
const ASSIGNMENT_SECONDS = 10;
// Participants of versions before 1.3 lack it (constants.ts ATTRIBUTE_AGENT_NAME); apps find agents by it.
const NAME_ATTRIBUTE = 'lk.agent.name';

/** Return a moment as the operator reads it. */
export const text = (moment = new Date()) => moment.toISOString().replace(/\.\d+Z$/, 'Z');

/** Knows the jobs that run and those promised but not yet running, by id, so that none counts twice. */
export class CapacityGuard {
  #promised = new Map();
  #since = new Map();

  /** `running` returns the jobs that run (livekit.Job, with id, dispatchId and room.name). */
  constructor(capacity, running) {
    this.capacity = capacity;
    this.running = running;
    this.closed = false; // takes no job any more
    this.onChange = () => {}; // called when a place was promised, and when the promise is kept or broken
    this.onLost = () => {}; // called with the id of a job that was accepted and never assigned
  }

  /** The jobs promised or running, by id. */
  get jobs() {
    const jobs = new Map([...this.#promised].map(([id, { job }]) => [id, job]));
    for (const job of this.running()) jobs.set(job.id, job);
    return jobs;
  }

  get occupied() {
    return this.jobs.size;
  }

  get free() {
    return this.closed ? 0 : Math.max(this.capacity - this.occupied, 0);
  }

  /** Sessions over capacity: what the server weighs workers by; 1 means full. */
  get load() {
    return this.closed ? 1 : Math.min(this.occupied / this.capacity, 1);
  }

  /** Hold a place for a job and return whether there was one. */
  promise(job) {
    if (this.free === 0 || this.jobs.has(job.id)) return false;
    this.#promised.set(job.id, { job, timer: undefined });
    this.#since.set(job.id, text());
    this.onChange();
    return true;
  }

  isPromised(id) {
    return this.#promised.has(id);
  }

  /** Give up a place that was promised: its job runs, or never will. */
  release(id) {
    clearTimeout(this.#promised.get(id)?.timer);
    if (this.#promised.delete(id)) this.onChange();
  }

  /** The job was assigned: its place is held until it is released. */
  assigned(id) {
    clearTimeout(this.#promised.get(id)?.timer);
  }

  /**
   * Let `decide` answer a request while there is room; otherwise refuse, so that another worker can take the job.
   *
   * The place is the job's until it runs: `accept` returns before that (job.ts JobRequest.accept).
   */
  async answer(request, decide, agentName = '') {
    const { job } = request;
    const accept = request.accept.bind(request);
    const reject = request.reject.bind(request);
    if (!this.promise(job)) return reject();
    let answered = false;
    let accepted = false;
    request.accept = (name, identity, metadata, attributes) => {
      if (answered) return undefined;
      answered = accepted = true;
      this.#awaitAssignment(job.id);
      return accept(name, identity, metadata, { [NAME_ATTRIBUTE]: agentName, ...attributes });
    };
    request.reject = (...args) => {
      if (answered) return undefined;
      answered = true;
      return reject(...args);
    };
    try {
      await decide(request);
    } catch (error) {
      console.error('the request for a job failed:', error);
    } finally {
      try {
        // the library only says that it does, and the server would wait
        await request.reject();
      } finally {
        if (!accepted) this.release(job.id);
      }
    }
    return undefined;
  }

  #awaitAssignment(id) {
    const entry = this.#promised.get(id);
    if (!entry) return;
    entry.timer = setTimeout(() => {
      this.onLost(id);
      this.release(id);
    }, 1000 * ASSIGNMENT_SECONDS);
    entry.timer.unref();
  }

  /** The jobs as /status shows them. */
  document() {
    const { jobs } = this;
    this.#since = new Map([...jobs.keys()].map((id) => [id, this.#since.get(id) ?? text()]));
    return [...jobs.values()].map((job) => ({
      id: job.id,
      dispatchId: job.dispatchId ?? '',
      room: job.room?.name ?? '',
      startedAt: this.#since.get(job.id),
    }));
  }
}
