"""Builders of a room's Secrets: a model goes in, a manifest comes out."""
