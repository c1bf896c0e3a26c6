'use strict';
// Gets hold of the one class of @livekit/agents that the runner needs, by an addition to the text of its module: what
// modules export cannot be replaced, and what the class has is private (worker.ts, `#opts` and `#procPool`).

const Module = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');

const NAME = 'livekit-operator.runner';
const WORKER = /[\\/]@livekit[\\/]agents[\\/](?:dist|src)[\\/]worker\.(?:js|cjs|ts)$/;
// Private fields that are made known to the runner, where a version has them.
const FIELDS = ['opts', 'procPool', 'session', 'pending'];

/** Return whether a path or URL is that of the module with the worker class. */
const isWorker = (location) => WORKER.test(location.split('?', 1)[0]);

/** Return the module's text with the additions, on lines that it already has. `location` is an expression. */
function transform(source, location) {
  const fields = FIELDS.filter((name) => new RegExp(`^\\s*#${name}\\b\\s*[;=:]`, 'm').test(source));
  const getters = fields.map((name) => `get ${name}() { return server.#${name}; }`).join(', ');
  const reach = ` static [Symbol.for("${NAME}")](server) { return { ${getters} }; }`;
  const patched = source.replace(/^(?:export )?class AgentServer\b[^{]*\{/m, (line) => line + reach);
  // Worker before 1.1
  const found = ['AgentServer', 'Worker'].map((name) => `typeof ${name} === "function" ? ${name} : `).join('');
  return `${patched}\n;globalThis[Symbol.for("${NAME}")]?.(${found}undefined, ${location});\n`;
}

/** Have `patch(class, location)` called once the module is loaded; return why that cannot be, or undefined. */
function hook(patch) {
  globalThis[Symbol.for(NAME)] = patch;
  // what is required
  const compile = Module.prototype._compile;
  Module.prototype._compile = function compiled(content, filename, ...rest) {
    const text = isWorker(filename) && filename.endsWith('.cjs') ? transform(content, '__filename') : content;
    return compile.call(this, text, filename, ...rest);
  };
  // what is imported
  if (typeof Module.registerHooks === 'function') {
    Module.registerHooks({ load: (url, context, next) => loaded(url, next(url, context)) });
  } else if (typeof Module.register === 'function') {
    Module.register(pathToFileURL(path.join(__dirname, 'loader.mjs')).href);
  } else {
    return `Node.js ${process.version} is too old for the runner: use 20.6 or newer`;
  }
  return undefined;
}

/** Return what a load hook returns, with the additions where it is the module of the worker class. */
function loaded(url, result) {
  if (!isWorker(url) || !String(result.format).startsWith('module') || result.source == null) return result;
  const text = typeof result.source === 'string' ? result.source : new TextDecoder().decode(result.source);
  return { ...result, source: transform(text, 'import.meta.url') };
}

module.exports = { NAME, hook, isWorker, loaded, transform };
