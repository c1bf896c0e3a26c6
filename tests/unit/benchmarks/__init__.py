"""Tests of what the benchmarks print."""
