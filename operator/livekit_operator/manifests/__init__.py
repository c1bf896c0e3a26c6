"""Builders that more than one kind uses: they read no clock, no cluster and no environment."""
