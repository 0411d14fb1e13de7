"""The life of objects after the acknowledgement."""
