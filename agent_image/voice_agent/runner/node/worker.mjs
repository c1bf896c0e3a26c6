// One AgentServer of @livekit/agents, held to the settings, and what is known of it.
//
// An agent brings its own version of the library: each setting is applied on its own, after a look whether the parts
// that it needs are there, and one that cannot be applied says why instead of stopping the agent.
import { CapacityGuard } from './capacity.mjs';
import { Processes } from './pool.mjs';
import { Sessions } from './sessions.mjs';

const REACH = Symbol.for('livekit-operator.runner'); // hook.cjs
const JOB_TYPES = ['ROOM', 'PUBLISHER', 'PARTICIPANT']; // livekit_agent.proto JobType
const STATUS = { available: 0, full: 1 }; // livekit_agent.proto WorkerStatus

/** Throw unless a thing has all these parts. */
function need(thing, owner, ...names) {
  const missing = names.filter((name) => thing == null || !(name in thing));
  if (missing.length) throw new Error(`this @livekit/agents has no ${missing.map((n) => `${owner}.${n}`).join(', ')}`);
}

export class SupervisedWorker {
  #message; // the class of messages to the server, once one was seen
  #registered = false;

  constructor(server, settings, environment = process.env) {
    this.server = server;
    this.settings = settings;
    this.environment = environment;
    this.parts = server.constructor[REACH]?.(server) ?? {};
    this.sessions = new Sessions();
    this.guard = new CapacityGuard(settings.sessionsPerPod, () => this.#running());
    this.agentName = environment.LIVEKIT_AGENT_NAME_OVERRIDE || settings.agentName;
    this.deployment = '';
    this.processes = undefined;
    this.started = false;
    this.applied = [];
    this.notApplied = {};
  }

  get registered() {
    return this.#registered;
  }

  /** ROOM for one job in each room, PUBLISHER for one for each participant that publishes. */
  get jobType() {
    return JOB_TYPES[this.parts.opts?.serverType] ?? JOB_TYPES[0];
  }

  get workerId() {
    return this.#registered ? (this.server.id ?? null) : null;
  }

  /** Whether all idle processes were warm once since the start. */
  get warmedUp() {
    return this.started && (this.processes?.warmedUp ?? true);
  }

  /** Apply every setting; to be called after the agent's own code, right before the server runs. */
  apply() {
    const { settings } = this;
    this.#try('agentName', () => this.#option('agentName', this.agentName));
    this.#try('sessionsPerPod', () => this.#capSessions());
    this.#try('idleProcesses', () => this.#governProcesses());
    // Never give up on the LiveKit server: readiness tells that it is away, and calls go on.
    this.#try('reconnect', () => this.#option('maxRetry', Number.POSITIVE_INFINITY));
    if (settings.initializeTimeoutSeconds != null) {
      this.#try('initializeTimeout', () => {
        need(this.parts.procPool, 'ProcPool', 'initializeTimeout');
        this.parts.procPool.initializeTimeout = 1000 * settings.initializeTimeoutSeconds;
      });
    }
    this.#try('readiness', () => this.#watchRegistration());
    this.#try('loadReports', () => this.#watchMessages());
    if (this.environment.LIVEKIT_AGENT_DEPLOYMENT) this.#try('deployment', () => this.#needDeployment());
    if (this.processes) {
      this.applied.push('sessions', 'refill');
      this.#try('terminations', () => {
        need(this.parts.procPool, 'ProcPool', 'getByJobId');
        this.processes.heedTerminations();
      });
    } else {
      this.notApplied.sessions = this.notApplied.idleProcesses;
    }
    this.guard.onChange = () => {
      this.processes?.poke();
      this.reportLoad();
    };
    this.guard.onLost = (id) => {
      // a late assignment would start the job beyond the cap
      if (this.parts.pending) delete this.parts.pending[id];
    };
    this.started = true;
  }

  /** Tell the server how full the worker is; the library does so every 2.5 s. */
  reportLoad() {
    if (!this.#message || !this.#registered) return;
    const value = { load: this.guard.load, status: this.#status, jobCount: this.guard.occupied };
    this.server.event.emit('worker_msg', new this.#message({ message: { case: 'updateWorker', value } }));
  }

  get #status() {
    return this.guard.load >= 1 ? STATUS.full : STATUS.available;
  }

  #try(setting, step) {
    try {
      step();
      this.applied.push(setting);
    } catch (error) {
      console.error(`cannot apply ${setting}: ${error.message}`);
      this.notApplied[setting] = error.message;
    }
  }

  #option(name, value) {
    need(this.parts, 'AgentServer', 'opts');
    need(this.parts.opts, 'ServerOptions', name);
    this.parts.opts[name] = value;
  }

  #capSessions() {
    need(this.parts, 'AgentServer', 'opts');
    const { opts } = this.parts;
    need(opts, 'ServerOptions', 'requestFunc', 'loadFunc', 'loadThreshold');
    const decide = opts.requestFunc;
    opts.requestFunc = (request) => this.guard.answer(request, decide, this.agentName);
    opts.loadFunc = async () => this.guard.load;
    opts.loadThreshold = 1;
  }

  #governProcesses() {
    need(this.parts, 'AgentServer', 'procPool');
    const { procPool } = this.parts;
    const names = ['executors', 'warmedProcQueue', 'procMutex', 'procWatchTask', 'launchJob', 'initializeTimeout'];
    need(procPool, 'ProcPool', ...names);
    const processes = new Processes(procPool, this.guard, this.sessions, this.settings.idleProcesses);
    processes.govern();
    this.processes = processes;
  }

  #watchRegistration() {
    const { server } = this;
    need(server.event, 'AgentServer.event', 'on');
    server.event.on('worker_registered', () => {
      this.#registered = true;
      const socket = this.parts.session;
      socket?.addEventListener?.('close', () => {
        if (this.parts.session === socket) this.#registered = false;
      });
      this.reportLoad();
    });
    // without it a registration is seen to come, but not to go
    need(this.parts, 'AgentServer', 'session');
  }

  /** Look at what the library sends to the server: its own idea of the load is replaced. */
  #watchMessages() {
    const { event } = this.server;
    need(event, 'AgentServer.event', 'emit');
    if (!this.applied.includes('sessionsPerPod')) {
      throw new Error("sessionsPerPod is not applied, so the load is not the runner's to report");
    }
    const { emit } = event;
    event.emit = (name, ...args) => {
      if (name === 'worker_msg') this.#onMessage(args[0]);
      return emit.call(event, name, ...args);
    };
  }

  #onMessage(sent) {
    const { case: kind, value } = sent?.message ?? {};
    if (sent?.constructor && sent.constructor !== Object) this.#message = sent.constructor;
    if (kind === 'updateWorker') {
      Object.assign(value, { load: this.guard.load, status: this.#status, jobCount: this.guard.occupied });
    } else if (kind === 'register') {
      const wanted = this.environment.LIVEKIT_AGENT_DEPLOYMENT;
      // versions before 1.4 do not know the variable
      if (wanted && 'deployment' in value) value.deployment = wanted;
      this.deployment = value.deployment ?? '';
    }
  }

  #needDeployment() {
    if (!this.applied.includes('loadReports')) throw new Error(this.notApplied.loadReports);
  }

  #running() {
    return this.processes ? this.sessions.jobs : this.server.activeJobs.map((info) => info.job);
  }
}
