// What the runner is told: the same file that the runner for Python reads (runner/settings.py).
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

const DEFAULT_PATH = '/etc/voice-agent/config.json';
const TERMINATION_LOG = '/dev/termination-log';
const EXIT_CONFIG = 78; // EX_CONFIG of sysexits.h
// The operator knows by these words that no worker runs in an image (runner/settings.py).
const REFUSES = 'The runner starts no worker: ';
const LARGEST_PORT = 65535;
// field: least, greatest, may be left out
const NUMBERS = {
  sessionsPerPod: [1, Number.MAX_SAFE_INTEGER, false],
  idleProcesses: [0, Number.MAX_SAFE_INTEGER, false],
  drainTimeoutSeconds: [1, Number.MAX_SAFE_INTEGER, false],
  metricsPort: [1, LARGEST_PORT, true],
  initializeTimeoutSeconds: [1, Number.MAX_SAFE_INTEGER, true],
};

/** The settings cannot be used; the message says what to change. */
export class SettingsError extends Error {}

/** Return the settings in a JSON document; throws SettingsError naming every field that is wrong. */
export function parse(text) {
  let document;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new SettingsError(`invalid JSON: ${error.message}`);
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw new SettingsError('must be a JSON object');
  }
  const named = typeof document.agentName === 'string' && document.agentName !== '';
  const problems = named ? [] : ['agentName: must be a text that is not empty'];
  for (const [field, [least, greatest, optional]] of Object.entries(NUMBERS)) {
    const value = document[field] ?? null;
    if (value === null && optional) continue;
    if (!Number.isSafeInteger(value) || value < least || value > greatest) {
      const most = greatest === LARGEST_PORT ? ` to ${greatest}` : '';
      problems.push(`${field}: must be an integer from ${least}${most}`);
    }
  }
  for (const field of Object.keys(document).sort()) {
    if (!(field in NUMBERS) && field !== 'agentName') problems.push(`${field}: unknown`);
  }
  if (problems.length) throw new SettingsError(problems.join('; '));
  return document;
}

/** Return the settings of this pod; throws SettingsError. */
export function load(environment = process.env) {
  const path = environment.AGENT_CONFIG || DEFAULT_PATH;
  let text;
  try {
    text = readFileSync(path);
  } catch (error) {
    throw new SettingsError(`cannot read ${path}: ${error.code}`);
  }
  const digest = environment.AGENT_CONFIG_SHA256;
  if (digest && createHash('sha256').update(text).digest('hex') !== digest) {
    throw new SettingsError(`${path} was changed since this pod was made: delete the ConfigMap that it comes from`);
  }
  try {
    return parse(text.toString());
  } catch (error) {
    throw new SettingsError(`${path}: ${error.message}`);
  }
}

/** End the process that would run a worker, which must not run here, and say why. */
export function refuse(why) {
  console.error(REFUSES + why);
  sayLastWords(REFUSES + why);
  process.exit(EXIT_CONFIG);
}

/** Leave the reason where Kubernetes shows it: the container's termination message. */
function sayLastWords(message) {
  try {
    if (existsSync(TERMINATION_LOG)) writeFileSync(TERMINATION_LOG, message.slice(0, 4000));
  } catch {
    // it is in the log as well
  }
}
