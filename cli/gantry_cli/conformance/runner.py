"""``gantry conformance run URL``: every statement checked on a live server, ours or another's.

Studies of invented patients are stored in it, and stay: run it against an archive for tests.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import httpx
from gantry_dicom.errors import BadRequest

from gantry_cli.access import AccessOptions, dicomweb_base
from gantry_cli.conformance.catalogue import CHECKS
from gantry_cli.conformance.server import Server
from gantry_cli.conformance.statements import Check, NotTestable
from gantry_cli.exits import FAILED, OK
from gantry_cli.terminal import say

ANSWER_SECONDS = 60.0
PASS, FAIL, CHOICE, UNTESTED = "pass", "FAIL", "other", "-"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one check; ``other`` where the standard leaves it open and the server chose otherwise."""

    id: str
    result: str
    clause: str
    statement: str
    seen: str = ""


def run(access: AccessOptions, url: str | None, only: str, *, as_json: bool) -> int:
    """Check a server and print a line for each statement; the exit code tells whether one is broken.

    ``only`` is a list of ids or letters of series, separated by commas. Raises ``BadRequest``
    when it names nothing, and what ``dicomweb_base`` does.
    """
    checks = chosen(only)
    base, auth = dicomweb_base(access, url)
    results = []
    with httpx.Client(timeout=ANSWER_SECONDS, auth=auth) as http:
        for result in examine(Server(base, http), checks):
            results.append(result)
            if not as_json:
                say(f"{result.id}  {result.result:5} {result.statement}")
                if result.seen:
                    say(f"           {result.seen}")
    counts = Counter(result.result for result in results)
    if as_json:
        say(json.dumps({"url": base, "counts": counts, "statements": [asdict(one) for one in results]}))
    else:
        say(", ".join(f"{count} {name}" for name, count in counts.most_common()))
    return FAILED if counts[FAIL] else OK


def chosen(only: str) -> list[Check]:
    """Return the checks that ``only`` names, or all; raises ``BadRequest`` when there is none."""
    names = tuple(name.strip().upper() for name in only.split(",") if name.strip())
    checks = [check for check in CHECKS if not names or check.id.startswith(names)]
    if not checks:
        raise BadRequest(f"no statement is called {only}")
    return sorted(checks, key=lambda check: "CSQWRU".index(check.id[0]))


def examine(server: Server, checks: Iterable[Check]) -> Iterator[Result]:
    """Yield the result of each check; a server that breaks off or answers nonsense fails it."""
    for check in checks:
        result, seen = PASS, ""
        try:
            check.run(server)
        except NotTestable as reason:
            result, seen = UNTESTED, reason.detail
        except Exception as error:  # noqa: BLE001 - whatever the server made us stumble over
            result, seen = (CHOICE if check.choice else FAIL), _words(error)
        yield Result(check.id, result, check.clause, check.text, seen)


def _words(error: Exception) -> str:
    detail = getattr(error, "detail", None) or str(error)
    return f"{type(error).__name__}: {detail}"[:300]
