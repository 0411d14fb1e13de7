"""``gantry capacity``: how much is stored, by what, and how long the room lasts."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from gantry_cli.access import AccessOptions
from gantry_cli.administration import ask
from gantry_cli.exits import OK
from gantry_cli.terminal import say, table


def run(access: AccessOptions, options: argparse.Namespace) -> int:
    """Print the numbers. Raises the ``GantryError`` that it ends with."""
    found = ask(access, options, "GET", "/admin/capacity", {"days": str(options.days)})
    if options.json:
        say(json.dumps(found, indent=2))
        return OK
    for line in _tiers(found["tiers"]):
        say(line)
    for line in _sums(found["usage"], options.by.split(",")):
        say(line)
    say(f"{found['instances']} objects, {in_words(found['bytes'])} in all")
    return OK


def in_words(size: float) -> str:
    """Return a number of bytes as people read it, in powers of a thousand."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(size) < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} PB"


def _tiers(tiers: Sequence[dict[str, Any]]) -> list[str]:
    rows = [
        [
            tier["tier"],
            "unknown" if tier["roomBytes"] is None else in_words(tier["roomBytes"]),
            "-" if tier["quotaBytes"] is None else in_words(tier["quotaBytes"]),
            in_words(tier["bytesADay"]),
            "-" if tier["daysLeft"] is None else f"{tier['daysLeft']:.0f}",
        ]
        for tier in tiers
    ]
    return table(("TIER", "LEFT", "QUOTA", "A DAY", "DAYS LEFT"), rows)


def _sums(usage: Sequence[dict[str, Any]], kinds: Sequence[str]) -> list[str]:
    sums: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0])
    for one in usage:
        summed = sums[tuple(str(one[kind] or "-") for kind in kinds)]
        summed[0] += one["instances"]
        summed[1] += one["bytes"]
    rows = [[*words, str(count), in_words(size)] for words, (count, size) in sorted(sums.items())]
    return table((*(kind.upper() for kind in kinds), "OBJECTS", "BYTES"), rows)
