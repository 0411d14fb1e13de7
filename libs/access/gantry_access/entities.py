"""Application entities of a snapshot: who may associate, from where, with which rights.

A title is a name that anybody can claim (PS3.8 7.1.1.3): it counts only from the addresses,
and with the certificates, that it was registered with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from gantry.access.v1.access_pb2 import ApplicationEntity, PolicySnapshot
from gantry_telemetry.logs import get_logger

from gantry_access.certificates import names_of
from gantry_access.errors import NotRegistered
from gantry_access.policy import Grant, Principal
from gantry_access.roles import ENTITY_MAY_FIND, ENTITY_MAY_MOVE, ENTITY_MAY_STORE, ENTITY_REGISTERED

log = get_logger(__name__)

# Where entities that are not registered may work while registration is open.
OPEN_PARTITION = "main"
_OPEN_GRANTS = frozenset(
    Grant(role, OPEN_PARTITION) for role in (ENTITY_MAY_STORE, ENTITY_MAY_FIND, ENTITY_MAY_MOVE)
)

NO_SUCH_TITLE, WRONG_ADDRESS, WRONG_CERTIFICATE = "calling-ae-title", "source-address", "certificate"

_Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class EntityLimits:
    """How much a title may ask of a listener; 0 sets no limit of its own."""

    maximum_associations: int = 0
    associations_per_minute: int = 0


@dataclass(frozen=True, slots=True)
class _Entry:
    grants: frozenset[Grant]
    # None: from anywhere.
    networks: tuple[_Network, ...] | None
    # Empty: also without one.
    certificates: frozenset[str]
    limits: EntityLimits


class Registry:
    """The registered titles of one snapshot; immutable."""

    def __init__(self, snapshot: PolicySnapshot) -> None:
        self._open = snapshot.open_registration
        self._entries: dict[str, list[_Entry]] = {}
        self._addresses: dict[tuple[str, str], tuple[str, int]] = {}
        for entity in snapshot.application_entities:
            entry = _Entry(
                _grants(entity),
                _networks(entity),
                frozenset(filter(None, (text.strip() for text in entity.certificates))),
                EntityLimits(entity.maximum_associations, entity.associations_per_minute),
            )
            self._entries.setdefault(entity.ae_title.strip(), []).append(entry)
            if entity.host and entity.port:
                address = (entity.host, entity.port)
                self._addresses.setdefault((entity.ae_title.strip(), entity.partition), address)

    def principal(self, ae_title: str, peer_address: str, certificate: bytes | None = None) -> Principal:
        """Return the caller behind ``ae_title``, who has shown ``certificate`` (DER).

        Raises ``NotRegistered``. A registered title from another address, or without its
        certificate, is refused, also while registration is open.
        """
        title = ae_title.strip()
        entries = self._entries.get(title)
        if entries is None:
            if self._open and title:
                return Principal(title, peer_address, _OPEN_GRANTS)
            raise NotRegistered("the calling AE title is not registered", NO_SUCH_TITLE)
        address = _address(peer_address)
        from_here = [entry for entry in entries if _comes_from(address, entry.networks)]
        if not from_here:
            raise NotRegistered("the calling AE title is not registered with this address", WRONG_ADDRESS)
        shown = names_of(certificate) if certificate else frozenset[str]()
        shown_to = [entry for entry in from_here if not entry.certificates or entry.certificates & shown]
        if not shown_to:
            raise NotRegistered("the calling AE title is bound to another certificate", WRONG_CERTIFICATE)
        grants = frozenset[Grant]().union(*(entry.grants for entry in shown_to))
        return Principal(title, peer_address, grants)

    def is_registered(self, ae_title: str) -> bool:
        """Whether ``ae_title`` is in the registry, whoever says it."""
        return ae_title.strip() in self._entries

    def limits(self, ae_title: str) -> EntityLimits:
        """Return the widest limits that ``ae_title`` is registered with."""
        entries = self._entries.get(ae_title.strip(), ())
        return EntityLimits(
            _widest(entry.limits.maximum_associations for entry in entries),
            _widest(entry.limits.associations_per_minute for entry in entries),
        )

    def address(self, ae_title: str, partition: str) -> tuple[str, int] | None:
        """Return host and port of an entity of ``partition`` that instances can be sent to, if any."""
        return self._addresses.get((ae_title.strip(), partition))


def _widest(limits: Iterable[int]) -> int:
    found = list(limits)
    return 0 if not found or 0 in found else max(found)


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
