'use strict';
// Node.js loads this first in every process of the container (NODE_OPTIONS=--require). CommonJS, because every version
// of Node.js takes that option: one that does not know --import would refuse to start. It does as little as possible,
// for most processes are no worker; nothing in here may stop one.

const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { isMainThread } = require('node:worker_threads');
const { hook } = require('./hook.cjs');

const OWNER_VARIABLE = 'LIVEKIT_RUNNER_PID';
const JOB = /[\\/]ipc[\\/]job_proc_lazy_main\.(?:js|cjs|ts)$/;
const HELPER = /[\\/]ipc[\\/]\w+_lazy_main\.(?:js|cjs|ts)$/;

const TOO_OLD =
  '@livekit/agents is too old for it. Put @livekit/agents 1.2 or newer into the image, or set spec.agent.runner to None ' +
  'and have your code limit the calls and wait for them at SIGTERM.';

const load = (file) => import(pathToFileURL(path.join(__dirname, file)).href);

/** Return whether this is the container's first worker: a second one would find the status port taken. */
function claim() {
  const owner = process.env[OWNER_VARIABLE];
  if (claim.done || (owner && owner !== String(process.pid))) {
    console.error('a second worker in one container runs without the runner');
    return false;
  }
  claim.done = true;
  process.env[OWNER_VARIABLE] = String(process.pid);
  return true;
}

/** Have the worker class of @livekit/agents, just loaded from a file, run under supervision. */
function patch(AgentServer, location) {
  const run = AgentServer?.prototype?.run;
  if (typeof run !== 'function') {
    load('fallback.mjs').then(({ explain }) => explain('this @livekit/agents has no AgentServer.run'), console.error);
    return;
  }
  if (AgentServer.name !== 'AgentServer') {
    AgentServer.prototype.run = async () => {
      const { refuse } = await load('settings.mjs');
      refuse(TOO_OLD);
    };
    return;
  }
  AgentServer.prototype.run = async function supervised(...args) {
    if (!claim()) return run.apply(this, args);
    const { supervise } = await load('lifecycle.mjs');
    return supervise(this, () => run.apply(this, args), location);
  };
}

function begin() {
  const script = process.argv[1] ?? '';
  if (JOB.test(script)) {
    require('./job.cjs').watch();
    return;
  }
  if (HELPER.test(script)) return;
  if (process.pid === 1) {
    // The kernel drops signals to a container's first process that it has no handler for: one that comes before the
    // worker sets its own would be lost, and only one is sent. Whoever has a handler of its own, or started another
    // program, is left alone.
    const early = () => {
      const waits = process.getActiveResourcesInfo?.().includes('ProcessWrap');
      if (process.listenerCount('SIGTERM') === 1 && !waits) process.exit(0);
    };
    process.on('SIGTERM', Object.assign(early, { isRunners: true }));
  }
  const problem = hook(patch);
  const timer = setTimeout(
    () => {
      if (!process.env[OWNER_VARIABLE]) load('fallback.mjs').then(({ serve }) => serve(problem), console.error);
    },
    1000 * Number(process.env.LIVEKIT_RUNNER_PATIENCE || 60),
  );
  timer.unref();
}

if (isMainThread) {
  try {
    begin();
  } catch (error) {
    console.error('the runner is not applied:', error);
  }
}
