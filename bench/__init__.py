"""Measurements of the running stack."""
