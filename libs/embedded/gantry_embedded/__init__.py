"""PostgreSQL, Valkey and S3 from their PyPI wheels, and the supervisor of a stack on one machine."""
