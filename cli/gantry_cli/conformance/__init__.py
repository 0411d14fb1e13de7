"""What PS3.18 asks of an origin server, statement by statement, checked from outside against any server."""
