// Answers on the status port of a container in which no worker was met: what is not applied and why, instead of nothing,
// for which the pod would be killed. Whether it is ready is what the worker's own port says, as without the runner.
import { listen, STATUS_PORT } from './status.mjs';

const WORKER_PORT = 8081; // worker.ts Default.port
const MOST_LETTERS = 300;
const UNSEEN =
  'no worker of @livekit/agents was loaded: keep @livekit/agents out of the bundle (esbuild: --packages=external), ' +
  'or set spec.agent.runner to None';
let explained;

/** Say why the runner is not applied to the worker that was met. */
export function explain(reason) {
  explained = reason;
}

/** Answer until a worker wants the port; `problem` is what is known to be wrong. */
export async function serve(problem) {
  const port = Number(process.env.STATUS_PORT || STATUS_PORT);
  let server;
  const makeWay = () => {
    server.close();
    server.closeAllConnections?.();
  };
  try {
    server = await listen(port, (path, request) => {
      if (request.method === 'DELETE' && ['127.0.0.1', '::1', '::ffff:127.0.0.1'].includes(request.socket.remoteAddress)) {
        setImmediate(makeWay);
        return [202, 'text/plain', 'ok'];
      }
      return answer(path, explained ?? problem ?? UNSEEN);
    });
  } catch {
    return; // another process of the container has the worker, or answers
  }
  console.error(`the runner is not applied: ${explained ?? problem ?? UNSEEN}`);
}

async function answer(path, reason) {
  if (path === '/healthz') return [200, 'text/plain', 'ok'];
  const port = Number(process.env.WORKER_PORT || WORKER_PORT);
  const ready = await ask(port, '/');
  if (path === '/readyz') return [ready === undefined ? 503 : 200, 'text/plain', ready ?? `nothing answers on port ${port}`];
  if (path !== '/status') return [404, 'text/plain', 'not found'];
  const about = parsed(await ask(port, '/worker'));
  const document = {
    ready: ready !== undefined,
    notReady: ready === undefined ? [`nothing answers on port ${port}`] : [],
    registered: ready !== undefined,
    draining: false,
    workerId: null,
    agentName: typeof about.agent_name === 'string' ? about.agent_name : '',
    deployment: typeof about.deployment === 'string' ? about.deployment : '',
    warmProcesses: 0,
    activeSessions: Number.isSafeInteger(about.active_jobs) ? about.active_jobs : 0,
    capacity: null,
    jobs: null,
    endedJobs: [],
    sessions: { started: 0, failed: 0 },
    providerErrors: [],
    applied: [],
    notApplied: [{ setting: 'runner', reason }],
  };
  return [200, 'application/json', JSON.stringify(document)];
}

/** Return the beginning of what answers with 200, undefined otherwise. */
async function ask(port, path) {
  try {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(1000) });
    const text = await response.text();
    return response.ok ? text.slice(0, MOST_LETTERS) : undefined;
  } catch {
    return undefined;
  }
}

function parsed(text) {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}
