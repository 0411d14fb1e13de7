"""PostgreSQL, Valkey and S3 from wheels under one supervisor."""
