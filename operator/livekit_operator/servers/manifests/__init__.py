"""Builders of a server's children: a model goes in, a manifest comes out."""
