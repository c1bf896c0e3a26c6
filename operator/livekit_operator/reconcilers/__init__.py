"""Reconcilers: observe, decide, apply, status. One module for each kind, the same function names in each."""
