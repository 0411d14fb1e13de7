"""The outside world: PostgreSQL, other issuers."""
