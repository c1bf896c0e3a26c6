"""Stand-ins for the speech and language providers, for tests and demonstrations.

One small server speaks the OpenAI streaming chat API with its transcriptions and speech, and Deepgram's streaming
listen and speak protocols, as the plugins of livekit-agents 1.8.9 use them. Its speech is real sound and its
transcripts are derived from the sound that arrived, so a test fails when sound does not arrive. It never belongs in an
image of the product.
"""
