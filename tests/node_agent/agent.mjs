// An agent as LiveKit's documentation shows them: it knows nothing of Kubernetes or of the operator.
import { ServerOptions, cli, defineAgent, voice } from '@livekit/agents';
import * as openai from '@livekit/agents-plugin-openai';
import { fileURLToPath } from 'node:url';

export default defineAgent({
  entry: async (ctx) => {
    const session = new voice.AgentSession({ llm: new openai.realtime.RealtimeModel() });
    session.on(voice.AgentSessionEventTypes.UserInputTranscribed, ({ transcript, isFinal }) => {
      if (isFinal && /goodbye/i.test(transcript)) ctx.shutdown('the caller said goodbye');
    });
    await session.start({ agent: new voice.Agent({ instructions: 'You answer the desk.' }), room: ctx.room });
    await ctx.connect();
    session.generateReply({ instructions: `Say exactly these words and nothing else: ${process.env.GREETING}` });
  },
});

cli.runApp(new ServerOptions({ agent: fileURLToPath(import.meta.url) }));
