"""Doors to the outside: a Protocol and its implementation for each."""
