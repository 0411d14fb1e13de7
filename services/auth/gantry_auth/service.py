"""What every request works with, and the one way in which access tokens come to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from gantry.access.v1.access_pb2 import ACCESS_KIND_LOGIN, AccessKind
from gantry_access.audit import AccessLog
from gantry_telemetry.tracing import current_traceparent

from gantry_auth import accounts, keys, revocations, sessions
from gantry_auth.adapters.database import Connection, Database
from gantry_auth.grants import narrowed
from gantry_auth.keys import KeyTimes, KeyVault
from gantry_auth.sessions import Session, SessionTimes
from gantry_auth.settings import AuthSettings
from gantry_auth.throttling import ThrottleLimits
from gantry_auth.tokens import AccessToken, Signer, issue_time, make_access_token

# The browser at our own pages, as tokens name their client.
BROWSER = "browser"
# How long a record may take to be on the disk.
_RECORD_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Service:
    """Parts that requests share."""

    settings: AuthSettings
    database: Database
    vault: KeyVault
    clock: Callable[[], datetime]
    log: AccessLog | None = None

    @property
    def session_times(self) -> SessionTimes:
        """How long sessions last."""
        return SessionTimes(
            timedelta(seconds=self.settings.session_idle_seconds),
            timedelta(seconds=self.settings.session_seconds),
        )

    @property
    def token_life(self) -> timedelta:
        """How long an access token lives."""
        return timedelta(seconds=self.settings.access_token_seconds)

    @property
    def key_times(self) -> KeyTimes:
        """How long keys sign and wait."""
        return KeyTimes(
            timedelta(seconds=self.settings.key_rotation_seconds),
            timedelta(seconds=self.settings.key_prepublish_seconds),
            self.token_life,
        )

    @property
    def limits(self) -> ThrottleLimits:
        """How many failed logins are let pass."""
        return ThrottleLimits(
            timedelta(seconds=self.settings.login_window_seconds),
            timedelta(seconds=self.settings.login_lockout_seconds),
            self.settings.login_failures,
            self.settings.login_failures_of_name,
            self.settings.login_failures_of_address,
        )

    def signer(self, connection: Connection) -> Signer:
        """Return the key that signs now, opened. Raises ``Unavailable``."""
        chosen = keys.signer(keys.load(connection), self.clock())
        return Signer.of(self.vault.open(chosen), chosen)

    def issue(self, connection: Connection, subject: str, client_id: str, scope: str | None) -> AccessToken:
        """Return an access token of ``subject``. Raises ``NotGranted``, ``Unavailable``."""
        return make_access_token(
            self.signer(connection),
            issuer=self.settings.issuer,
            subject=subject,
            client_id=client_id,
            grants=narrowed(accounts.grants_of(connection, subject), scope),
            issued_at=issue_time(self.clock(), revocations.last_revoked_at(connection, subject)),
            seconds=self.settings.access_token_seconds,
        )

    def issue_for(self, connection: Connection, session: Session, scope: str | None = None) -> AccessToken:
        """Return an access token of a session, remembered for its end. Raises ``NotGranted``."""
        asked = session.scope if scope is None else scope
        token = self.issue(connection, session.subject, session.client_id or BROWSER, asked)
        sessions.note_access_token(connection, session, token)
        return token

    def record(
        self,
        principal: str,
        address: str,
        *,
        operation: str,
        outcome: str,
        kind: AccessKind = ACCESS_KIND_LOGIN,
        partition: str = "",
        study_uid: str = "",
    ) -> None:
        """Keep an access record, durably, before the answer.

        Raises ``AccessLogFull``, ``AccessLogBroken``.
        """
        if self.log is None:
            return
        written = self.log.record(
            kind,
            principal=principal,
            peer_address=address,
            operation=operation,
            outcome=outcome,
            partition=partition,
            study_uid=study_uid,
            traceparent=current_traceparent(),
        )
        if written is not None:
            written.result(_RECORD_SECONDS)
