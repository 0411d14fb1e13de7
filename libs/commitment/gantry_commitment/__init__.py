"""Storage commitment: whether the archive answers for an instance from now on, looked up where it rests."""
