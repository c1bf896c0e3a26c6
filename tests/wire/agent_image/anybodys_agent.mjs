// An agent as a user writes one: it knows nothing of the runner. Its jobs never join a room.
import { ServerOptions, cli, defineAgent } from '@livekit/agents';
import { Room } from '@livekit/rtc-node';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

// There is no room to join; what is there once one is joined (rtc-node room.ts `connect`).
Room.prototype.connect = async function connect() {
  this.localParticipant = { setAttributes: async () => {} };
};

export default defineAgent({
  prewarm: async () => {
    if (process.env.PREWARM === 'crash') process.exit(5);
    if (process.env.PREWARM === 'slow') await sleep(60_000);
  },
  entry: async (ctx) => {
    const { metadata } = ctx.job;
    if (metadata === 'raise') throw new TypeError('the entrypoint of the test');
    if (metadata === 'hang up') ctx.shutdown('done');
    if (metadata === 'pid') writeFileSync('pid', String(process.pid));
    if (metadata === 'crash') process.exit(3);
    if (metadata === 'thrown') setTimeout(() => { throw new RangeError('thrown by a timer'); });
    if (metadata === 'hold') await sleep(1500);
    if (metadata === 'speak') {
      await ctx.connect();
      // as the library's sessions do (voice/room_io/room_io.ts)
      await ctx.room.localParticipant.setAttributes({ 'lk.agent.state': 'listening' });
    }
    if (metadata === 'cut') ctx.room.emit('disconnected', 9);
  },
});

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  cli.runApp(
    new ServerOptions({
      agent: fileURLToPath(import.meta.url),
      agentName: 'name-in-the-code',
      port: Number(process.env.WORKER_PORT),
      numIdleProcesses: 5,
      maxRetry: 1,
      loadFunc: async () => 0,
      requestFunc: async (request) => {
        if (request.job.metadata === 'unwanted') return request.reject();
        await sleep(100); // a decision takes time, in which the next request comes
        return request.accept('', 'the one');
      },
    }),
  );
}
