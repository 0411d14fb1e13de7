"""The index: schema, migrations, upsert, search and retrieval plans."""
