"""What has to be done by the clock: keys made and forgotten, federated keys fetched, old rows removed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from gantry_dicom.errors import GantryError
from gantry_telemetry import metrics
from gantry_telemetry.logs import get_logger

from gantry_auth import keys
from gantry_auth.adapters.database import Connection
from gantry_auth.adapters.other_issuers import fetch_keys
from gantry_auth.service import Service
from gantry_auth.settings import FederatedIssuer

log = get_logger(__name__)

FETCHED = metrics.counter("gantry_auth_federated_keys", "Fetches of federated issuers' keys", ("outcome",))

UPKEEP_SECONDS = 30.0
_FIRST_PAUSE = 1.0
# Codes and failures are kept that long after they matter, so that a second use is still noticed.
_KEPT = timedelta(hours=1)


async def tend_for_ever(service: Service) -> None:
    """Do what is due, again and again until cancelled; at first often, while the database is awaited."""
    pause = _FIRST_PAUSE
    while True:
        if await _tried("upkeep", partial(tend, service)):
            pause = UPKEEP_SECONDS
        await asyncio.sleep(pause)


async def federate_for_ever(service: Service) -> None:
    """Fetch the keys of federated issuers, again and again until cancelled."""
    while service.settings.federated_issuers:
        # Side by side: one that is slow must not let the keys of the others grow old.
        done = await asyncio.gather(
            *(
                _tried("federation", partial(refresh_issuer, service, issuer))
                for issuer in service.settings.federated_issuers
            )
        )
        FETCHED.labels("fetched").inc(sum(done))
        FETCHED.labels("failed").inc(len(done) - sum(done))
        pause = service.settings.federation_refresh_seconds
        await asyncio.sleep(pause if all(done) else min(pause, UPKEEP_SECONDS))


def tend(service: Service) -> None:
    """Make the keys that are due and remove what no longer matters. Raises ``Unavailable``."""
    with service.database.transaction() as connection:
        keys.tend(
            connection,
            service.vault,
            algorithm=service.settings.signing_algorithm,
            times=service.key_times,
            now=service.clock(),
        )
    with service.database.transaction() as connection:
        remove_old(connection, service.clock())
        connection.execute(
            "DELETE FROM auth.federated_keys WHERE fetched_at <= %s",
            [service.clock() - timedelta(seconds=service.settings.federation_keys_good_for_seconds)],
        )


def refresh_issuer(service: Service, issuer: FederatedIssuer) -> None:
    """Fetch an issuer's keys and keep them. Raises ``Unavailable``, and those of before stay."""
    jwks = fetch_keys(issuer)
    with service.database.transaction() as connection:
        connection.execute(
            "INSERT INTO auth.federated_keys (issuer, jwks, fetched_at)"
            " VALUES (%(issuer)s, %(jwks)s, %(now)s)"
            " ON CONFLICT (issuer) DO UPDATE SET jwks = excluded.jwks, fetched_at = excluded.fetched_at",
            {"issuer": issuer.issuer, "jwks": jwks, "now": service.clock()},
        )


def remove_old(connection: Connection, now: datetime) -> None:
    """Remove rows that nothing asks for any more."""
    before = now - _KEPT
    connection.execute("DELETE FROM auth.authorization_codes WHERE expires_at < %s", [before])
    connection.execute("DELETE FROM auth.sessions WHERE expires_at < %s", [before])
    connection.execute("DELETE FROM auth.access_tokens WHERE expires_at < %s", [before])
    connection.execute("DELETE FROM auth.revocations WHERE forget_after < %s", [now])
    connection.execute("DELETE FROM auth.throttle WHERE last_at < %s AND blocked_until < %s", [before, now])


async def _tried(what: str, work: Callable[[], None]) -> bool:
    try:
        await asyncio.to_thread(work)
    except GantryError as error:
        log.warning("upkeep_failed", kind=what, reason=error.detail)
        return False
    except Exception:
        # A bug in one round must not end the others.
        log.exception("upkeep_failed", kind=what)
        return False
    return True
