"""``gantry backup`` and ``gantry restore``: databases, keys and configuration, and copies of the bucket."""
