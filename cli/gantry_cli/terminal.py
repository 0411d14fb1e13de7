"""What the user sees: one line of progress, and plain lines when there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence

REDRAW_SECONDS = 0.1
PLAIN_SECONDS = 2.0


class Progress:
    """A counter ``label: n of total`` that redraws itself in place, or prints now and then."""

    def __init__(self, label: str, total: int = 0) -> None:
        self._label = label
        self._total = total
        self._done = 0
        self._bytes = 0
        self._begun = time.monotonic()
        self._shown_at = 0.0
        self._interactive = sys.stdout.isatty()

    def advance(self, count: int = 1, size: int = 0) -> None:
        """Count ``count`` more instances of ``size`` bytes in all."""
        self._done += count
        self._bytes += size
        now = time.monotonic()
        if now - self._shown_at >= (REDRAW_SECONDS if self._interactive else PLAIN_SECONDS):
            self._shown_at = now
            self._show(end="")

    def finish(self) -> None:
        """Show the last count and end the line."""
        self._show(end="\n")

    def _show(self, end: str) -> None:
        seconds = max(time.monotonic() - self._begun, 1e-3)
        count = f"{self._done} of {self._total}" if self._total else str(self._done)
        line = f"  {self._label}: {count} instance{'' if count == '1' else 's'}"
        if self._bytes:
            line += f", {self._bytes / 1e6:.1f} MB, {self._done / seconds:.0f}/s"
        if self._interactive:
            print(f"\r{line}\033[K", end=end, flush=True)
        else:
            print(line, flush=True)


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def complain(text: str) -> None:
    """Print a line to standard error."""
    print(f"gantry: {text}", file=sys.stderr, flush=True)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return lines with columns as wide as their widest cell; the head alone when there are no rows.

    What somebody else wrote must not command the terminal: characters that do not print become question
    marks.
    """
    lines = [[_printable(cell) for cell in line] for line in (heads, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
