"""People of other issuers, ``issuer#sub``: they are not kept here, only whom we bar."""

from __future__ import annotations

from datetime import datetime

from gantry_dicom.errors import BadRequest, NotFound
from gantry_telemetry.logs import get_logger

from gantry_auth.adapters.database import Connection

log = get_logger(__name__)

# Between issuer and subject; in no issuer and in no name of ours.
SEPARATOR = "#"
_LONGEST = 1000


def is_federated(name: str) -> bool:
    """Whether ``name`` is somebody of another issuer."""
    return SEPARATOR in name


def list_barred(connection: Connection) -> list[str]:
    """Return who may not come in, whatever their issuer says."""
    rows = connection.execute("SELECT subject FROM auth.barred_subjects ORDER BY subject").fetchall()
    return [subject for (subject,) in rows]


def bar(connection: Connection, name: str, now: datetime) -> None:
    """Refuse every token of a federated subject from now on. Raises ``BadRequest``."""
    issuer, _, subject = name.partition(SEPARATOR)
    if not issuer or not subject or len(name) > _LONGEST or not name.isprintable():
        raise BadRequest("somebody of another issuer is named issuer#sub")
    connection.execute(
        "INSERT INTO auth.barred_subjects (subject, barred_at) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        [name, now],
    )
    log.info("subject_revoked", principal=name)


def let_in(connection: Connection, name: str) -> None:
    """Accept what the issuer says of somebody again. Raises ``NotFound``."""
    if not connection.execute("DELETE FROM auth.barred_subjects WHERE subject = %s", [name]).rowcount:
        raise NotFound("there is no such subject")
    log.info("subject_reinstated", principal=name)
