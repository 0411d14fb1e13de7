"""Routing: studies and series that have arrived are sent on by rules, as jobs that survive anything."""
