"""An agent without sound, for tests that need many calls rather than real ones."""
