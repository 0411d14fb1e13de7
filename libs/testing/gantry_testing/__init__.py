"""Synthetic studies, servers and helpers for tests."""
