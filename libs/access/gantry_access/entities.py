"""Application entities of a snapshot: who may associate, from where, with which rights.

A title is a name that anybody can claim (PS3.8 7.1.1.3): it counts only from the addresses
that it was registered with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from gantry.access.v1.access_pb2 import ApplicationEntity, PolicySnapshot
from gantry_dicom.errors import NotAllowed
from gantry_telemetry.logs import get_logger

from gantry_access.policy import Grant, Principal
from gantry_access.roles import ENTITY_MAY_FIND, ENTITY_MAY_MOVE, ENTITY_MAY_STORE, ENTITY_REGISTERED

log = get_logger(__name__)

# Where entities that are not registered may work while registration is open.
OPEN_PARTITION = "main"
_OPEN_GRANTS = frozenset(
    Grant(role, OPEN_PARTITION) for role in (ENTITY_MAY_STORE, ENTITY_MAY_FIND, ENTITY_MAY_MOVE)
)

_Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class _Entry:
    grants: frozenset[Grant]
    # None: from anywhere.
    networks: tuple[_Network, ...] | None


class Registry:
    """The registered titles of one snapshot; immutable."""

    def __init__(self, snapshot: PolicySnapshot) -> None:
        self._open = snapshot.open_registration
        self._entries: dict[str, list[_Entry]] = {}
        self._addresses: dict[tuple[str, str], tuple[str, int]] = {}
        for entity in snapshot.application_entities:
            entry = _Entry(_grants(entity), _networks(entity))
            self._entries.setdefault(entity.ae_title.strip(), []).append(entry)
            if entity.host and entity.port:
                address = (entity.host, entity.port)
                self._addresses.setdefault((entity.ae_title.strip(), entity.partition), address)

    def principal(self, ae_title: str, peer_address: str) -> Principal:
        """Return the caller behind ``ae_title``. Raises ``NotAllowed``.

        A registered title from another address is refused, also while registration is open.
        """
        title = ae_title.strip()
        entries = self._entries.get(title)
        if entries is None:
            if self._open and title:
                return Principal(title, peer_address, _OPEN_GRANTS)
            raise NotAllowed("the calling AE title is not registered")
        address = _address(peer_address)
        grants = frozenset[Grant]().union(
            *(entry.grants for entry in entries if _comes_from(address, entry.networks))
        )
        if not grants:
            raise NotAllowed("the calling AE title is not registered with this address")
        return Principal(title, peer_address, grants)

    def address(self, ae_title: str, partition: str) -> tuple[str, int] | None:
        """Return host and port of an entity of ``partition`` that instances can be sent to, if any."""
        return self._addresses.get((ae_title.strip(), partition))


def _grants(entity: ApplicationEntity) -> frozenset[Grant]:
    rights = (
        (ENTITY_REGISTERED, True),
        (ENTITY_MAY_STORE, entity.may_store),
        (ENTITY_MAY_FIND, entity.may_find),
        (ENTITY_MAY_MOVE, entity.may_move),
    )
    return frozenset(Grant(role, entity.partition) for role, given in rights if given)


def _networks(entity: ApplicationEntity) -> tuple[_Network, ...] | None:
    if not entity.source_addresses:
        return None
    return tuple(_parsed(entity.ae_title, entity.source_addresses))


def _parsed(ae_title: str, texts: Iterable[str]) -> Iterable[_Network]:
    for text in texts:
        try:
            yield ip_network(text.strip(), strict=False)
        except ValueError:
            # It allows nobody; the others of the entity still count.
            log.warning("source_address_unreadable", calling_ae_title=ae_title)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _comes_from(address: IPv4Address | IPv6Address | None, networks: tuple[_Network, ...] | None) -> bool:
    if networks is None:
        return True
    return address is not None and any(address in network for network in networks)
