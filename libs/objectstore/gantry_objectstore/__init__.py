"""Objects in S3 or files: keys, journal, manifest, ranges and streams."""
