"""Fixtures for every test of the project (a pytest plugin, found by its entry point)."""
