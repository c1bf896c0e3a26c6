// Reads a case from each line and answers with what the runner for Node.js makes of it; nothing of it is a worker.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { CapacityGuard } from '../../../agent_image/voice_agent/runner/node/capacity.mjs';
import { Sessions, exitWords } from '../../../agent_image/voice_agent/runner/node/sessions.mjs';
import { parse } from '../../../agent_image/voice_agent/runner/node/settings.mjs';
import { WorkerStatus } from '../../../agent_image/voice_agent/runner/node/status.mjs';

const hook = createRequire(import.meta.url)('../../../agent_image/voice_agent/runner/node/hook.cjs');
const job = (id) => ({ id, dispatchId: `AD_${id}`, room: { name: `room of ${id}` } });
const quiet = (step) => {
  try {
    return step();
  } catch (error) {
    return { refused: error.message };
  }
};

const steps = {
  settings: (text) => quiet(() => parse(text)),
  isWorker: (path) => hook.isWorker(path),
  transform: (source) => hook.transform(source, 'import.meta.url'),
  exit: ([code, signal]) => exitWords(code, signal) ?? null,

  /** A worker with `running` jobs and those that `ended`, each with what its process said and its exit code. */
  status({ running = [], ended = [], registered = true, warmedUp = true, stopping = false, problem, notApplied = {} }) {
    const sessions = new Sessions();
    const guard = new CapacityGuard(4, () => sessions.jobs);
    for (const [id, said] of running) {
      sessions.onLaunched(job(id));
      sessions.onMessage(id, said);
    }
    for (const [id, said, code] of ended) {
      sessions.onLaunched(job(id));
      sessions.onMessage(id, said);
      sessions.onEnded(id, exitWords(code, null));
    }
    const processes = { warm: 1, problem };
    const about = { workerId: 'AW_1', agentName: 'front-desk', deployment: '', jobType: 'ROOM', applied: [], notApplied };
    const status = new WorkerStatus({ guard, sessions, processes, registered, warmedUp, ...about });
    status.stopping = stopping;
    return { document: status.document(), ready: status.answer('/readyz'), health: status.answer('/healthz') };
  },

  /** Requests that come one after the other, each with how the agent's own code answers it, to a worker for two. */
  async requests(answers) {
    const running = [];
    const guard = new CapacityGuard(2, () => running);
    const heard = [];
    for (const [id, answer] of answers) {
      const request = {
        job: job(id),
        accept: (name, identity, metadata, attributes) => heard.push([id, 'accept', attributes]),
        reject: () => heard.push([id, 'reject']),
      };
      const decide = {
        accept: (asked) => asked.accept(),
        reject: (asked) => asked.reject(),
        silence: () => {},
        raise: () => Promise.reject(new Error('no')),
        both: (asked) => (asked.accept(), asked.reject()),
        end: () => {},
      }[answer];
      if (answer === 'end') guard.release(id);
      else await guard.answer(request, async (asked) => decide(asked), 'front-desk');
    }
    return { heard, occupied: guard.occupied, load: guard.load, free: guard.free };
  },
};

console.error = () => {};
for await (const line of createInterface({ input: process.stdin })) {
  const [step, given] = JSON.parse(line);
  process.stdout.write(`${JSON.stringify((await steps[step](given)) ?? null)}\n`);
}
process.exit();
