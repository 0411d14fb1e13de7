"""Why an association failed: what was seen of it, what that means, and what to do about it."""
