"""Routing: what is sent on, where, and how far it has come."""
