"""Measurements on a real cluster; figures for people, never a test."""
