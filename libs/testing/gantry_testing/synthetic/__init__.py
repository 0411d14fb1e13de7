"""Synthetic studies: deterministic, plausible, and with pixels that say which frame they are."""
