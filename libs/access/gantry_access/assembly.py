"""A process's access parts put together from its settings: the policy point and the log."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from gantry.access.v1.access_pb2 import ACCESS_KIND_REFUSAL, ACCESS_KIND_STORE, AccessKind
from gantry_telemetry.tracing import current_traceparent

from gantry_access.audit import AccessLog, AuditSettings
from gantry_access.errors import BadPolicySetting
from gantry_access.point import RULES_POLICY, AccessPoint, named_point, rules_point
from gantry_access.policy import POLICIES, Principal
from gantry_access.storage import Seals, Store

# Beside the access records: the newest policy version that was seen on this machine.
POLICY_VERSION_FILE = "policy-version"

# What need not be on the disk before the answer: reception is in the journal, a refusal gives
# nothing away.
_LAZY = frozenset({ACCESS_KIND_STORE, ACCESS_KIND_REFUSAL})


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """What a service's settings say of access."""

    service: str
    policy: str
    redis_url: str
    # Seconds; 0 is as long as the snapshot says.
    max_age: float = 0.0
    # Empty keeps no access records, which only a named policy allows.
    log_folder: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """The policy point of a process and the log of what it let through."""

    point: AccessPoint
    log: AccessLog | None

    async def start(self) -> None:
        """Load the rules and open the log, on the loop of the store. Raises ``AccessLogBroken``."""
        if self.log is not None:
            await self.log.start()
        if self.point.feed is not None:
            await self.point.feed.start()

    async def close(self) -> None:
        """Deliver the records and stop looking for rules; before the store is closed."""
        if self.point.feed is not None:
            await self.point.feed.close()
        if self.log is not None:
            await self.log.close()

    def note(
        self,
        kind: AccessKind,
        principal: Principal,
        *,
        operation: str,
        outcome: str,
        partition: str = "",
        study_uid: str = "",
        sop_uids: Iterable[str] = (),
    ) -> Future[None] | None:
        """Record an access; the answer must not begin before the future, if any, has its result.

        Raises ``AccessLogFull``, ``AccessLogBroken``.
        """
        if self.log is None:
            return None
        return self.log.record(
            kind,
            principal=principal.name,
            peer_address=principal.peer_address,
            operation=operation,
            outcome=outcome,
            partition=partition,
            study_uid=study_uid,
            sop_uids=sop_uids,
            traceparent=current_traceparent(),
            durable=kind not in _LAZY,
        )


def make_access(settings: AccessSettings, store: Store, sealer: Seals) -> Access:
    """Return the parts; nothing is loaded or opened yet. Raises ``BadPolicySetting``."""
    log = None
    if settings.log_folder:
        log = AccessLog(settings.service, store, sealer, AuditSettings(Path(settings.log_folder)))
    if settings.policy in POLICIES:
        return Access(named_point(settings.policy), log)
    if settings.policy != RULES_POLICY:
        raise BadPolicySetting(f"the policy is one of {RULES_POLICY}, {', '.join(POLICIES)}")
    if log is None:
        raise BadPolicySetting("the policy rules needs a folder for access records")
    from gantry_access.feed import FeedSettings, PolicyFeed
    from gantry_access.floor import VersionFloor

    feed = PolicyFeed(
        store,
        sealer,
        redis_url=settings.redis_url,
        floor=VersionFloor(Path(settings.log_folder) / POLICY_VERSION_FILE),
        settings=FeedSettings(max_age=settings.max_age),
    )
    return Access(rules_point(feed), log)
