// The load hook of versions of Node.js that run hooks in a thread of their own.
import hook from './hook.cjs';

export async function load(url, context, next) {
  return hook.loaded(url, await next(url, context));
}
