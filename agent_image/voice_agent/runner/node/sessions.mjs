// How many sessions began since the worker started, what those that go on do, and how the last ones ended.
import { text } from './capacity.mjs';

// As many ended jobs are told of, the last ones: whoever asks every few seconds misses none (runner/sessions.py).
const MOST_ENDED = 64;
const MOST_LETTERS = 300;
export const CASE = 'livekit-operator.runner'; // of what job processes tell (job.cjs)

/** Return how a job's process ended that did not end by itself, or not well; undefined if it did. */
export function exitWords(code, signal) {
  if (signal === 'SIGKILL') {
    return "the job's process was killed (SIGKILL), by the kernel for lack of memory or by somebody";
  }
  if (signal) return `the job's process ended with signal ${signal}`;
  return code ? `the job's process ended with exit code ${code}` : undefined;
}

const words = (value) => (typeof value === 'string' && value ? value.slice(0, MOST_LETTERS) : undefined);

/** The worker's count, fed by the processes of its jobs. */
export class Sessions {
  #running = new Map();

  constructor() {
    this.started = 0;
    this.failed = 0;
    this.ended = [];
    this.cutting = false; // whether the jobs that are left are ended because the worker stops
  }

  get jobs() {
    return [...this.#running.values()].map(({ job }) => job);
  }

  onLaunched(job) {
    this.started += 1;
    this.#running.set(job.id, { job, begun: performance.now(), state: null, lastActivityAt: null });
  }

  /** The process of a job says something; its code may say anything. */
  onMessage(id, value) {
    const entry = this.#running.get(id);
    if (!entry || typeof value !== 'object' || value === null) return;
    entry.failed ??= words(value.failed);
    entry.cut = words(value.cut) ?? entry.cut;
    if (words(value.state)) {
      entry.state = words(value.state);
      entry.lastActivityAt = text();
    }
  }

  /** The process of a job ended; `exit` is undefined if it was told to. */
  onEnded(id, exit) {
    const entry = this.#running.get(id);
    if (!entry) return;
    this.#running.delete(id);
    const cut = this.cutting ? 'its worker was stopped, which waited no longer for the call to end' : entry.cut;
    const failed = entry.failed ?? exit;
    this.failed += failed === undefined ? 0 : 1;
    const error = failed ?? cut ?? null;
    const { job } = entry;
    this.ended.push({
      id,
      dispatchId: job.dispatchId ?? '',
      room: job.room?.name ?? '',
      failed: error !== null,
      error,
      cut: failed === undefined && cut !== undefined,
      seconds: Math.floor((performance.now() - entry.begun) / 1000),
      endedAt: text(),
    });
    this.ended.splice(0, this.ended.length - MOST_ENDED);
  }

  /** What the session of a job does, and since when; null for one that did not say. */
  activity(id) {
    const { state = null, lastActivityAt = null } = this.#running.get(id) ?? {};
    return { state, lastActivityAt };
  }
}
