"""Exit codes of the command; 3 for "not running" as service managers have it."""

OK = 0
FAILED = 1
NOT_RUNNING = 3
INTERRUPTED = 130
