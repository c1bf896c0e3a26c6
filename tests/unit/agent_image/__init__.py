"""Tests of the stock agent image's package."""
