"""Certificates of destruction: sealed, one a purge, for ever."""

from __future__ import annotations

from datetime import UTC, datetime

from gantry.retention.v1.retention_pb2 import Certificate
from gantry_dicom.errors import Conflict, NotFound

from gantry_objectstore.errors import BadKey, BadSeal
from gantry_objectstore.keys import amendment_scope, check_partition
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.retention_keys import CERTIFICATE_PREFIX, certificate_key, certificate_name
from gantry_objectstore.sealing import Sealer


def name_of(certificate: Certificate) -> str:
    """Return the name under which a certificate is kept and asked for."""
    return certificate_name(amendment_scope(certificate.study_instance_uid), certificate.purge_revision)


class CertificateLedger:
    """Reads and writes certificates. Every method raises ``Unavailable`` when the store is in trouble."""

    def __init__(self, store: ObjectStore, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer

    async def write(self, certificate: Certificate, purged_at_us: int) -> str:
        """Keep the certificate of the purge of that time; the first one stands. Returns its name."""
        name = name_of(certificate)
        key = certificate_key(certificate.partition, _day(purged_at_us), name)
        try:
            await self._store.put(key, self._sealer.seal(certificate), create=True)
        except Conflict:
            await self._read(key, certificate.partition)
        return name

    async def has(self, partition: str, name: str, purged_at_us: int) -> bool:
        """Whether the purge of that time has its certificate."""
        try:
            await self._store.head(certificate_key(partition, _day(purged_at_us), name))
        except NotFound:
            return False
        return True

    async def read(self, partition: str, name: str) -> Certificate:
        """Return a certificate by its name. Raises ``NotFound`` and ``BadSeal``."""
        for day in await self._days(partition):
            try:
                return await self._read(certificate_key(partition, day, name), partition)
            except (BadKey, NotFound):
                continue
        raise NotFound("there is no such certificate")

    async def newest(self, partition: str, limit: int, study_uid: str = "") -> list[Certificate]:
        """Return up to ``limit`` certificates, newest day first, of a study or of all. Raises ``BadSeal``."""
        found: list[Certificate] = []
        scope = amendment_scope(study_uid) if study_uid else ""
        for day in await self._days(partition):
            folder = f"{CERTIFICATE_PREFIX}{partition}/{day}/"
            keys = sorted([info.key async for info in self._store.list(folder)])
            for key in keys:
                if len(found) == limit:
                    return found
                if key.removeprefix(folder).startswith(scope):
                    found.append(await self._read(key, partition))
        return found

    async def _read(self, key: str, partition: str) -> Certificate:
        certificate = self._sealer.open(await self._store.get(key), Certificate)
        if certificate.partition != partition or not key.endswith(f"/{name_of(certificate)}"):
            raise BadSeal("a certificate under another's key")
        return certificate

    async def _days(self, partition: str) -> list[str]:
        prefix = f"{CERTIFICATE_PREFIX}{check_partition(partition)}/"
        return sorted(await self._store.list_folders(prefix), reverse=True)


def _day(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).date().isoformat()
