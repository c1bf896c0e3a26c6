'use strict';
// In the process of a job: tells the worker how the agent's entrypoint fares, over the channel that the two have.
//
// The library tells its worker nothing of a failure: the process of an entrypoint that raises ends with code 0
// (ipc/job_proc_lazy_main.ts). It runs the entrypoint in an AsyncLocalStorage with the job's context (job.ts
// `runWithJobContextAsync`), which is where it is met here.

const { AsyncLocalStorage } = require('node:async_hooks');

const CASE = 'livekit-operator.runner';
const STATE_ATTRIBUTE = 'lk.agent.state';
// Reasons by which an agent leaves as it, its app or its people want (livekit_models.proto DisconnectReason).
// Connections that break, and servers that go, have others.
const ON_PURPOSE = new Map([[1, 'CLIENT_INITIATED'], [2, 'DUPLICATE_IDENTITY'], [4, 'PARTICIPANT_REMOVED']]);
ON_PURPOSE.set(5, 'ROOM_DELETED').set(10, 'ROOM_CLOSED');
const MOST_LETTERS = 300;

/** Tell the worker; what it cannot be told is no reason to fail a call. */
function tell(value) {
  try {
    if (process.connected) process.send({ case: CASE, value }, undefined, undefined, () => {});
  } catch {
    // the worker is gone
  }
}

/** Return an error as a log ends with it, on one line. */
function lastWords(error) {
  const words = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return words.split(/\s+/).join(' ').slice(0, MOST_LETTERS);
}

/** Tell of the context's room: what the session does, and a connection that breaks for good. */
function watchRoom(room) {
  const connect = room.connect;
  room.connect = async function connected(...args) {
    const result = await connect.apply(this, args);
    const participant = room.localParticipant;
    const setAttributes = participant?.setAttributes;
    if (typeof setAttributes === 'function') {
      participant.setAttributes = function told(attributes, ...rest) {
        const state = attributes?.[STATE_ATTRIBUTE];
        if (typeof state === 'string') tell({ state });
        return setAttributes.call(this, attributes, ...rest);
      };
    }
    return result;
  };
  room.on('disconnected', (reason) => {
    if (typeof reason === 'number' && reason !== 0 && !ON_PURPOSE.has(reason)) {
      tell({ cut: `its connection to the server broke (reason ${reason})` });
    }
  });
}

/**
 * Return what ends the job once its entrypoint is over, if that was asked for while it ran.
 *
 * Versions before 1.2.8 forget such a request, the agent's own or the worker's, and a room that was left, and would stay
 * for good.
 */
function rememberShutdown(context) {
  const { shutdown } = context;
  let asked;
  context.shutdown = function told(reason, ...rest) {
    asked ??= reason ?? '';
    return shutdown.call(this, reason, ...rest);
  };
  process.on('message', (message) => {
    if (message?.case === 'shutdownRequest') asked ??= 'shutdown request';
  });
  context.room.on('disconnected', () => {
    asked ??= 'room disconnected';
  });
  return () => asked !== undefined && setImmediate(() => shutdown.call(context, asked));
}

/** Follow an entrypoint to its end. */
function watchEntrypoint(promise, finish) {
  promise.then(finish, (error) => tell({ failed: lastWords(error) }));
}

/** Wait for the context of the process's one job. */
function watch() {
  process.on('uncaughtExceptionMonitor', (error) => tell({ failed: lastWords(error) }));
  const run = AsyncLocalStorage.prototype.run;
  let met = false;
  let done = false;
  let finish = () => {};
  AsyncLocalStorage.prototype.run = function watched(store, callback, ...args) {
    if (done || !store?.job?.id || !store.room) return run.call(this, store, callback, ...args);
    if (!met) {
      // before the entrypoint begins, in which it connects
      met = true;
      guarded(() => watchRoom(store.room));
      guarded(() => {
        finish = rememberShutdown(store);
      });
    }
    const result = run.call(this, store, callback, ...args);
    if (typeof result?.then === 'function') {
      done = true;
      if (AsyncLocalStorage.prototype.run === watched) AsyncLocalStorage.prototype.run = run;
      guarded(() => watchEntrypoint(result, () => finish()));
    }
    return result;
  };
}

/** Do something that another version of the library may not take: it is no reason to fail a call. */
function guarded(step) {
  try {
    step();
  } catch (error) {
    console.error('the runner does not see all of this job:', error);
  }
}

module.exports = { lastWords, watch };
