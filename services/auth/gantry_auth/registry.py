"""Application entities that may associate: titles, where from, and with which rights."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_network

from gantry_access.certificates import check_binding
from gantry_dicom.errors import BadRequest, Conflict, NotFound
from gantry_objectstore.keys import is_partition
from gantry_telemetry.logs import get_logger
from psycopg.errors import UniqueViolation

from gantry_auth.adapters.database import Connection, every

log = get_logger(__name__)

# PS3.5 6.2: 16 characters of the default repertoire without backslash and control characters,
# spaces around them not significant.
_TITLE = re.compile(r"[ -\[\]-~]{1,16}")
_HIGHEST_LIMIT = 100_000
_HOST = re.compile(r"[A-Za-z0-9.:-]{0,253}")


@dataclass(frozen=True, slots=True)
class Entity:
    """A title in a partition; no source addresses mean any."""

    ae_title: str
    partition: str
    may_store: bool = False
    may_find: bool = False
    may_move: bool = False
    source_addresses: Sequence[str] = field(default_factory=list)
    host: str = ""
    port: int = 0
    # What it has to show of them, one of: sha256:<hex> or subject:<name>; none means that it need not.
    certificates: Sequence[str] = field(default_factory=list)
    # 0 is as many as the listener takes.
    maximum_associations: int = 0
    associations_per_minute: int = 0


def check(entity: Entity) -> Entity:
    """Return ``entity`` when it can be registered. Raises ``BadRequest``."""
    if not _TITLE.fullmatch(entity.ae_title) or entity.ae_title != entity.ae_title.strip():
        raise BadRequest("an AE title has 1 to 16 printable characters, no backslash, no blanks around")
    if not is_partition(entity.partition):
        raise BadRequest("not the name of a partition")
    for text in entity.source_addresses:
        try:
            ip_network(text, strict=False)
        except ValueError:
            raise BadRequest("a source address is an IP address or a network (CIDR)") from None
    if not _HOST.fullmatch(entity.host) or not 0 <= entity.port < 1 << 16:
        raise BadRequest("where an entity listens is a host name or address, and a port")
    if bool(entity.host) != bool(entity.port):
        raise BadRequest("where an entity listens needs both a host and a port")
    limits = (entity.maximum_associations, entity.associations_per_minute)
    if not all(0 <= limit <= _HIGHEST_LIMIT for limit in limits):
        raise BadRequest(f"a limit is a number from 0 to {_HIGHEST_LIMIT}")
    return replace(entity, certificates=[check_binding(text) for text in entity.certificates])


def add(connection: Connection, entity: Entity) -> None:
    """Register an entity. Raises ``BadRequest``, ``Conflict``."""
    entity = check(entity)
    try:
        with connection.transaction():
            connection.execute(
                "INSERT INTO auth.application_entities (ae_title, partition, may_store, may_find, may_move,"
                " source_addresses, host, port, certificates, maximum_associations, associations_per_minute)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [
                    entity.ae_title,
                    entity.partition,
                    entity.may_store,
                    entity.may_find,
                    entity.may_move,
                    list(entity.source_addresses),
                    entity.host,
                    entity.port,
                    list(entity.certificates),
                    entity.maximum_associations,
                    entity.associations_per_minute,
                ],
            )
    except UniqueViolation:
        raise Conflict("that title is registered for the partition already") from None
    log.info("entity_added", calling_ae_title=entity.ae_title, partition=entity.partition)


def list_all(connection: Connection) -> list[Entity]:
    """Return every entity, by title."""
    return every(
        connection,
        Entity,
        "SELECT ae_title, partition, may_store, may_find, may_move, source_addresses, host, port,"
        " certificates, maximum_associations, associations_per_minute"
        " FROM auth.application_entities ORDER BY ae_title, partition",
    )


def remove(connection: Connection, ae_title: str, partition: str | None = None) -> None:
    """Take a title out, of one partition or of all. Raises ``NotFound``."""
    found = connection.execute(
        "DELETE FROM auth.application_entities"
        " WHERE ae_title = %(title)s AND (%(partition)s::text IS NULL OR partition = %(partition)s)",
        {"title": ae_title, "partition": partition},
    )
    if not found.rowcount:
        raise NotFound("no such title is registered")
    log.info("entity_removed", calling_ae_title=ae_title)
