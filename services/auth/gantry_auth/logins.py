"""Logging in with a password, and what a browser does with the session that comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from gantry.access.v1.access_pb2 import ACCESS_KIND_REFUSAL
from gantry_dicom.errors import NotAuthenticated, OutOfResources
from gantry_telemetry import metrics
from gantry_telemetry.logs import get_logger

from gantry_auth import accounts, passwords, sessions, throttling
from gantry_auth.adapters.database import Connection
from gantry_auth.service import Service
from gantry_auth.sessions import Refresh, Session
from gantry_auth.tokens import AccessToken

log = get_logger(__name__)

LOGINS = metrics.counter("gantry_auth_logins", "Logins with a password by what came of them", ("outcome",))

# A browser has several tabs, and two may refresh with the same cookie before either has the answer.
TAB_GRACE = timedelta(seconds=10)
_OPERATION = "login"
# In records instead of a name that is nobody's: it may be a password, typed into the wrong field.
_NOBODY = "unknown"


class LockedOut(OutOfResources):
    """Too many logins have failed; ``until`` says when the next may be tried."""

    def __init__(self, until: datetime) -> None:
        super().__init__("too many logins have failed; try again later")
        self.until = until


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """What a browser gets: two cookies; ``refresh_token`` is ``None`` where it has the newest already."""

    session: Session
    access_token: AccessToken
    refresh_token: str | None


def log_in(service: Service, name: str, password: str, address: str) -> BrowserSession:
    """Begin a session. Raises ``NotAuthenticated``, ``LockedOut``, ``OutOfResources``, ``Unavailable``.

    The same words and the same time whether the name or the password is wrong.
    """
    folded = name.strip().lower()
    with service.database.transaction() as connection:
        attempt = throttling.begin(connection, folded, address, now=service.clock(), limits=service.limits)
        user = accounts.find_user(connection, folded)
    if attempt.blocked_until is not None:
        LOGINS.labels("locked-out").inc()
        service.record(
            user.subject if user else _NOBODY,
            address,
            operation=_OPERATION,
            outcome="locked-out",
            kind=ACCESS_KIND_REFUSAL,
        )
        raise LockedOut(attempt.blocked_until)
    good = passwords.verify(password, user.password_hash if user else None)
    if user is None or not good or user.revoked_at is not None:
        LOGINS.labels("refused").inc()
        service.record(
            user.subject if user else _NOBODY,
            address,
            operation=_OPERATION,
            outcome="refused",
            kind=ACCESS_KIND_REFUSAL,
        )
        raise NotAuthenticated("name or password is not right")
    fresh = passwords.hash_password(password) if passwords.needs_rehash(user.password_hash) else None
    service.record(user.subject, address, operation=_OPERATION, outcome="allowed")
    with service.database.transaction() as connection:
        current = accounts.find_user(connection, user.subject)
        if current is None or current.revoked_at is not None or current.password_hash != user.password_hash:
            raise NotAuthenticated("name or password is not right")
        throttling.succeeded(connection, attempt)
        if fresh is not None:
            accounts.set_password_hash(connection, user.subject, fresh)
        begun = _begin(service, connection, user.subject)
    LOGINS.labels("allowed").inc()
    return begun


def current(service: Service, connection: Connection, refresh_token: str) -> Session | None:
    """Return the browser's session that a refresh cookie proves, without using it up."""
    state, session = sessions.look_at(connection, refresh_token, now=service.clock(), grace=TAB_GRACE)
    if session is None or state not in (Refresh.GOOD, Refresh.JUST_USED) or session.client_id is not None:
        return None
    return session if accounts.is_active(connection, session.subject) else None


def refresh(service: Service, connection: Connection, refresh_token: str) -> BrowserSession | None:
    """Return new cookies for those of a session; ``None`` when it is over."""
    now = service.clock()
    state, session = sessions.look_at(connection, refresh_token, now=now, grace=TAB_GRACE)
    if session is None or session.client_id is not None:
        return None
    if not accounts.is_active(connection, session.subject):
        return None
    if state is Refresh.JUST_USED:
        return BrowserSession(session, service.issue_for(connection, session), None)
    if state is not Refresh.GOOD:
        return None
    sessions.use_up(connection, refresh_token, now=now)
    return BrowserSession(
        session,
        service.issue_for(connection, session),
        sessions.new_refresh_token(connection, session, now=now, times=service.session_times),
    )


def log_out(service: Service, connection: Connection, refresh_token: str) -> str | None:
    """End the session of a refresh cookie and return whose it was."""
    state, session = sessions.look_at(connection, refresh_token, now=service.clock(), grace=TAB_GRACE)
    if session is None or session.client_id is not None:
        return None
    if state is not Refresh.ENDED:
        sessions.end(connection, session.session_id, reason="logout", now=service.clock())
    return session.subject


def _begin(service: Service, connection: Connection, subject: str) -> BrowserSession:
    now = service.clock()
    times = service.session_times
    session = sessions.begin(
        connection,
        subject=subject,
        client_id=None,
        scope="",
        authenticated_at=now,
        times=times,
    )
    return BrowserSession(
        session,
        service.issue_for(connection, session),
        sessions.new_refresh_token(connection, session, now=now, times=times),
    )
