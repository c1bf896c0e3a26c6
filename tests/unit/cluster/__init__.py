"""Tests of the local cluster's pure parts; none of them needs a cluster or root."""
