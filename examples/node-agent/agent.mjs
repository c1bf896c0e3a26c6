// An agent as LiveKit's documentation shows them: it knows nothing of the operator.
import { ServerOptions, cli, defineAgent, voice } from '@livekit/agents';
import * as openai from '@livekit/agents-plugin-openai';
import { fileURLToPath } from 'node:url';

export default defineAgent({
  entry: async (ctx) => {
    const session = new voice.AgentSession({ llm: new openai.realtime.RealtimeModel() });
    const agent = new voice.Agent({ instructions: 'You answer the desk. Be brief.' });
    await session.start({ agent, room: ctx.room });
    await ctx.connect();
    session.generateReply({ instructions: 'Greet the caller.' });
  },
});

cli.runApp(new ServerOptions({ agent: fileURLToPath(import.meta.url) }));
