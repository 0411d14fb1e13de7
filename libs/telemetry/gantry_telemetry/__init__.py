"""Logs without patient data, metrics and traces."""
