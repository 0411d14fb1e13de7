"""Failed logins are counted before the password is looked at, so that many at once gain nothing.

Three counts: one name from one address (locks out soon), one name from anywhere and one address
for any name (lock out late: an address may be a whole hospital's, and nobody should be able to
lock another out cheaply).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from gantry_auth.adapters.database import Connection


@dataclass(frozen=True, slots=True)
class ThrottleLimits:
    """How many failures within ``window`` are let pass, and how long the first lock-out lasts."""

    window: timedelta
    lockout: timedelta
    of_pair: int
    of_name: int
    of_address: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """A login under way: counted as failed until it has succeeded."""

    keys: tuple[bytes, ...]
    blocked_until: datetime | None


def begin(
    connection: Connection, name: str, address: str, *, now: datetime, limits: ThrottleLimits
) -> Attempt:
    """Count an attempt; when ``blocked_until`` is set it must not go on."""
    counted = (
        (_key("pair", name, address), limits.of_pair),
        (_key("name", name), limits.of_name),
        (_key("address", address), limits.of_address),
    )
    keys = tuple(key for key, _ in counted)
    row = connection.execute(
        "SELECT max(blocked_until) FROM auth.throttle WHERE key = ANY(%s)", [list(keys)]
    ).fetchone()
    blocked: datetime | None = row[0] if row else None
    if blocked is not None and blocked > now:
        return Attempt(keys, blocked)
    blocked = None
    # In one order, so that two attempts cannot wait for each other.
    for key, limit in sorted(counted):
        row = connection.execute(
            "INSERT INTO auth.throttle AS t (key, failures, last_at, blocked_until)"
            # Not the time of this attempt: another that began a moment before would seem locked out.
            " VALUES (%(key)s, 1, %(now)s, 'epoch')"
            " ON CONFLICT (key) DO UPDATE SET last_at = %(now)s,"
            " failures = CASE WHEN t.last_at > %(since)s THEN t.failures + 1 ELSE 1 END"
            " RETURNING failures, blocked_until",
            {"key": key, "now": now, "since": now - limits.window},
        ).fetchone()
        failures, until = row or (0, now)
        if until > now:
            # Locked out while we waited for the row.
            blocked = max(blocked or until, until)
        elif failures >= limit:
            lockout = min(limits.window, limits.lockout * 2 ** min(failures - limit, 20))
            connection.execute(
                "UPDATE auth.throttle SET blocked_until = %s WHERE key = %s", [now + lockout, key]
            )
    return Attempt(keys, blocked)


def succeeded(connection: Connection, attempt: Attempt) -> None:
    """Forget the failures of this name from this address; the wider counts lose this attempt only."""
    pair, *wider = attempt.keys
    connection.execute("DELETE FROM auth.throttle WHERE key = %s", [pair])
    for key in sorted(wider):
        connection.execute(
            "UPDATE auth.throttle SET failures = greatest(failures - 1, 0), blocked_until = 'epoch'"
            " WHERE key = %s",
            [key],
        )


def forget_all(connection: Connection) -> None:
    """Lock nobody out any longer."""
    connection.execute("DELETE FROM auth.throttle")


def _key(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
