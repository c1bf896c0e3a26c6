// The worker's own HTTP endpoints: /healthz, /readyz and /status on port 8082, and its metrics on a port of their own.
import { createServer } from 'node:http';
import { hostname } from 'node:os';

export const STATUS_PORT = 8082;
const LIBRARY = ' of @livekit/agents';

/** The worker as seen from outside. */
export class WorkerStatus {
  constructor(worker) {
    this.worker = worker;
    this.stopping = false;
    this.failure = null;
  }

  /** Why the worker is not ready; empty when it is (runner/readiness.py). */
  get reasons() {
    const { worker } = this;
    const problem = worker.processes?.problem;
    return [
      ...(this.failure ? [`failed: ${this.failure}`] : []),
      ...(this.stopping ? ['draining'] : []),
      ...(worker.warmedUp ? [] : [`idle processes are not warm yet${problem ? `: ${problem}` : ''}`]),
      ...(worker.registered ? [] : ['not registered with the LiveKit server']),
    ];
  }

  /** Every field is always present, also when it is zero, empty or null. */
  document() {
    const { worker, reasons } = this;
    return {
      ready: reasons.length === 0,
      notReady: reasons,
      registered: worker.registered,
      draining: this.stopping,
      workerId: worker.workerId,
      agentName: worker.agentName,
      deployment: worker.deployment,
      jobType: worker.jobType,
      warmProcesses: worker.processes?.warm ?? 0,
      activeSessions: worker.guard.occupied,
      capacity: worker.guard.capacity,
      jobs: worker.guard.document().map((job) => ({ ...job, ...worker.sessions.activity(job.id) })),
      endedJobs: worker.sessions.ended,
      sessions: { started: worker.sessions.started, failed: worker.sessions.failed },
      providerErrors: [],
      applied: worker.applied,
      notApplied: Object.entries(worker.notApplied).map(([setting, reason]) => ({ setting, reason })),
    };
  }

  /** Return the answer to a request: status, type and text. */
  answer(path) {
    if (path === '/status') return [200, 'application/json', JSON.stringify(this.document())];
    if (path === '/readyz') return plain(this.reasons);
    if (path === '/healthz') return plain(this.failure ? [this.failure] : []);
    return [404, 'text/plain', 'not found'];
  }

  /** Return the metrics that livekit-agents for Python has, by the same names (telemetry/metrics.py). */
  metrics() {
    const { guard, processes } = this.worker;
    const node = JSON.stringify(hostname());
    const one = (name, kind, help, value) =>
      `# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n${name}{nodename=${node}} ${value}\n`;
    const { buckets = [], sum = 0 } = processes?.initialized ?? {};
    const warm = processes?.everWarm ?? 0;
    const name = 'lk_agents_proc_initialize_duration_seconds';
    const lines = [...buckets, ['+Inf', warm]].map(
      ([limit, count]) => `${name}_bucket{le="${limit}",nodename=${node}} ${count}\n`,
    );
    return [
      one('lk_agents_active_job_count', 'gauge', `Active jobs${LIBRARY}`, guard.occupied),
      one('lk_agents_child_process_count', 'gauge', `Child processes${LIBRARY}`, processes?.count ?? 0),
      one('lk_agents_worker_load', 'gauge', 'Sessions over capacity', guard.load),
      `# HELP ${name} Time taken to initialize a process\n# TYPE ${name} histogram\n`,
      ...lines,
      `${name}_sum{nodename=${node}} ${sum}\n${name}_count{nodename=${node}} ${warm}\n`,
    ].join('');
  }
}

function plain(reasons) {
  return [reasons.length ? 503 : 200, 'text/plain', reasons.join('\n') || 'ok'];
}

/** Serve `answer(path, request)`, which may return a promise; returns the server, throws when the port is taken. */
export async function listen(port, answer) {
  const server = createServer(async (request, response) => {
    try {
      const [status, type, text] = await answer(request.url.split('?', 1)[0], request);
      response.writeHead(status, { 'content-type': `${type}; charset=utf-8` }).end(text);
    } catch (error) {
      console.error('a request for the status failed:', error);
      response.writeHead(500).end();
    }
  });
  await new Promise((resolve, reject) => server.once('error', reject).listen(port, resolve));
  server.on('error', (error) => console.error('the status is no longer served:', error.message));
  server.unref();
  return server;
}
