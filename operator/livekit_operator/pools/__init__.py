"""VoiceAgentPool: its passes, what they decide, and what they make."""
