"""Builders: a model goes in, a manifest comes out. They read no clock, no cluster and no environment."""
