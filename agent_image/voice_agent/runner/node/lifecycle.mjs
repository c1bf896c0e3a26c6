// From start to exit: run the worker, drain on SIGTERM, say how it ended (runner/lifecycle.py).
//
// The library's command line drains as well, for an hour at most and with exit code 143, and before 1.2.8 it takes new
// jobs meanwhile (worker.ts `drain`). So draining and closing take place in here, and the command line waits for it.
import { setTimeout as sleep } from 'node:timers/promises';
import { SettingsError, load, refuse } from './settings.mjs';
import { STATUS_PORT, WorkerStatus, listen } from './status.mjs';
import { SupervisedWorker } from './worker.mjs';

const CLOSE_SECONDS = 10; // beyond what job processes are given
const LAST_SECONDS = 5; // for what else waits for SIGTERM

/** Run a server, which `start` starts, as the pod's settings say; rejects as the worker did that stopped by itself. */
export async function supervise(server, start) {
  let settings;
  try {
    settings = load();
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    refuse(error.message);
  }
  const worker = new SupervisedWorker(server, settings);
  worker.apply();
  const status = new WorkerStatus(worker);
  await serve(status);
  const life = new Life(status);
  life.takeOver();
  try {
    return await start();
  } catch (error) {
    if (!status.stopping) {
      status.failure = 'the worker stopped by itself';
      console.error(`${status.failure}:`, error);
      await life.end();
    }
    throw error;
  }
}

/** Serve the worker's status and metrics; a port that is taken is no reason to stop the agent. */
async function serve(status) {
  const { worker } = status;
  const port = Number(process.env.STATUS_PORT || STATUS_PORT);
  const answer = (path) => status.answer(path);
  try {
    await listen(port, answer).catch(async () => {
      // whoever answers meanwhile, because no worker was seen, makes way (fallback.mjs)
      await fetch(`http://127.0.0.1:${port}/`, { method: 'DELETE', signal: AbortSignal.timeout(2000) }).catch(() => {});
      await listen(port, answer);
    });
  } catch (error) {
    // the agent itself works; that it is never ready tells the rest
    console.error("cannot serve the worker's status:", error.message);
  }
  if (worker.settings.metricsPort == null) return;
  try {
    await listen(worker.settings.metricsPort, (path) =>
      path === '/metrics' ? [200, 'text/plain; version=0.0.4', status.metrics()] : [404, 'text/plain', 'not found'],
    );
    worker.applied.push('prometheus');
  } catch (error) {
    worker.notApplied.prometheus = `the port ${worker.settings.metricsPort} cannot be served: ${error.message}`;
  }
}

/** The end of a worker: one drain, however often and by whom it is asked for. */
class Life {
  #end;

  constructor(status) {
    this.status = status;
    this.worker = status.worker;
    this.close = this.worker.server.close?.bind(this.worker.server);
  }

  /** Have SIGTERM, and whoever drains and closes the server, come here. */
  takeOver() {
    const { server } = this.worker;
    server.drain = () => this.end();
    server.close = () => this.end();
    const others = process.listeners('SIGTERM').filter((listener) => !listener.isRunners);
    process.removeAllListeners('SIGTERM');
    process.on('SIGTERM', () => this.#terminate(others));
    this.worker.applied.push('drainTimeout', 'singleDrain');
  }

  /** Take no more jobs, wait for those there are, then close the server. */
  end() {
    this.#end ??= this.#drain();
    return this.#end;
  }

  async #drain() {
    const { worker, status } = this;
    const { guard, settings } = worker;
    status.stopping = true;
    guard.closed = true;
    worker.reportLoad();
    const until = performance.now() + 1000 * settings.drainTimeoutSeconds;
    console.error(`draining: ${guard.occupied} sessions`);
    while (guard.occupied > 0 && performance.now() < until) await sleep(100);
    if (guard.occupied > 0) console.error(`drain timed out, ending the ${guard.occupied} calls left`);
    worker.sessions.cutting = true;
    const { closeTimeout = 60_000, sessionEndTimeout = 0 } = worker.parts.procPool ?? {};
    // before 1.2.8 closing waits for ever for a process that died before it was warm
    const given = guard.occupied ? closeTimeout + sessionEndTimeout : 0;
    await Promise.race([this.close?.(), sleep(given + 1000 * CLOSE_SECONDS, undefined, { ref: false })]).catch((error) =>
      console.error('closing failed:', error),
    );
    worker.processes?.kill();
    console.error('stopped');
  }

  /** Drain; then those who wait for SIGTERM as well hear of it, and whatever they exit with, it ended well. */
  async #terminate(others) {
    if (this.terminating) return;
    this.terminating = true;
    await this.end();
    const { exit } = process;
    process.exit = () => exit.call(process, 0);
    const waiting = others.map((listener) => Promise.resolve().then(() => listener.call(process, 'SIGTERM', 15)));
    await Promise.race([Promise.allSettled(waiting), sleep(1000 * LAST_SECONDS, undefined, { ref: false })]);
    await sleep(100);
    process.exit(0);
  }
}
