"""Tests against a real API server: what it refuses and fills in, and the operator run in this process against it."""
