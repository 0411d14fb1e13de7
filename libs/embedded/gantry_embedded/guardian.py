"""End a stack whose supervisor was killed.

The kernel's death signal reaches only the supervisor's own children; this process, which waits for the end
of a pipe only the supervisor holds, also ends what those have started.

Arguments: the state folder and the supervisor's pid. The pipe is standard input.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from gantry_embedded.state import end_leftovers, read_state


def main() -> None:
    """Wait for the supervisor's end, then end what it left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    state = read_state(Path(sys.argv[1]))
    if state is not None and state.pid == int(sys.argv[2]):
        end_leftovers(state)


if __name__ == "__main__":
    main()
