"""Builders of a pool's children: a model goes in, a manifest comes out."""
