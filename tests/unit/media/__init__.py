"""The talk of two, without a server."""
