"""Sending the instances of a job to its destination, by C-STORE or STOW-RS."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from secrets import token_hex

import httpx
import orjson
from gantry_dicom.errors import NotFound, Unavailable
from gantry_dimse.connecting import open_association
from gantry_dimse.errors import NotAssociated
from gantry_dimse.statuses import SUCCESS
from gantry_index.records import StoredInstance
from gantry_objectstore.store import ObjectStore
from gantry_telemetry.logs import get_logger

from gantry_ingest.moving import Requestor, batches
from gantry_ingest.routing.rules import DimseDestination, StowDestination
from gantry_ingest.sending import Errand, InstanceSender

log = get_logger(__name__)

# Told of each instance as it ends: its SOP Instance UID, and whether the destination has it.
Told = Callable[[str, bool], Awaitable[None]]

# PS3.4 B.2.3: the peer is out of resources; it may take the instance later.
_OUT_OF_RESOURCES = range(0xA700, 0xA800)
_WARNINGS = range(0xB000, 0xC000)
# Of one STOW request.
_REQUEST_BYTES = 64 << 20
_REQUEST_INSTANCES = 100
_STORED_SOPS, _SOP = "00081199", "00081155"
# Answers that say nothing about the instances.
_LATER = frozenset({401, 403, 408, 425, 429})


@dataclass(frozen=True, slots=True)
class Deliverer:
    """Sends instances; raises ``Unavailable`` when the destination cannot be reached or is out of room."""

    sender: InstanceSender
    store: ObjectStore
    connect_seconds: float = 10.0
    answer_seconds: float = 120.0

    async def deliver(
        self,
        destination: DimseDestination | StowDestination,
        instances: Sequence[StoredInstance],
        told: Told,
    ) -> None:
        """Send ``instances``, telling of each; what was not told of has not been sent."""
        if isinstance(destination, StowDestination):
            await self._by_stow(destination, instances, told)
        else:
            await self._by_dimse(destination, instances, told)

    async def _by_dimse(
        self, destination: DimseDestination, instances: Sequence[StoredInstance], told: Told
    ) -> None:
        try:
            for contexts, batch in batches(instances):
                async with await open_association(
                    destination.host,
                    destination.port,
                    calling_ae_title=destination.calling_ae_title,
                    called_ae_title=destination.ae_title,
                    contexts=contexts,
                    entity=Requestor(self.connect_seconds),
                ) as association:
                    for instance in batch:
                        status = await self.sender.send(association, instance, Errand())
                        if status in _OUT_OF_RESOURCES:
                            raise Unavailable(f"{destination.ae_title} is out of resources ({status:04X})")
                        await told(instance.sop_uid, status == SUCCESS or status in _WARNINGS)
        except NotAssociated as error:
            raise Unavailable(f"{destination.ae_title}: {error.detail}") from error

    async def _by_stow(
        self, destination: StowDestination, instances: Sequence[StoredInstance], told: Told
    ) -> None:
        headers = {"Accept": "application/dicom+json"}
        if destination.token_file is not None:
            token = await asyncio.to_thread(destination.token_file.read_text)
            headers["Authorization"] = f"Bearer {token.strip()}"
        url = f"{destination.url.rstrip('/')}/studies"
        timeout = httpx.Timeout(self.answer_seconds, connect=self.connect_seconds)
        async with httpx.AsyncClient(timeout=timeout, headers=headers) as client:
            for request in _requests(instances):
                boundary = token_hex(16)
                body, readable = await self._body(request, boundary)
                try:
                    answer = await client.post(
                        url,
                        content=body,
                        headers={
                            "Content-Type": 'multipart/related; type="application/dicom"; '
                            f"boundary={boundary}"
                        },
                    )
                except httpx.HTTPError as error:
                    raise Unavailable(f"{destination.url}: {type(error).__name__}") from error
                stored = _stored(answer, destination.url)
                for instance in request:
                    await told(instance.sop_uid, instance.sop_uid in stored and instance in readable)

    async def _body(
        self, instances: Sequence[StoredInstance], boundary: str
    ) -> tuple[bytes, list[StoredInstance]]:
        parts, readable = [], []
        for instance in instances:
            try:
                data = await self.store.get(instance.object_key)
            except NotFound:
                log.error("instance_not_read", sop_instance_uid=instance.sop_uid)  # noqa: TRY400 - expected
                continue
            parts.append(f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + data + b"\r\n")
            readable.append(instance)
        return b"".join((*parts, f"--{boundary}--\r\n".encode())), readable


def _requests(instances: Sequence[StoredInstance]) -> Iterator[list[StoredInstance]]:
    """Part instances into requests of bounded size."""
    part: list[StoredInstance] = []
    size = 0
    for instance in instances:
        if part and (len(part) == _REQUEST_INSTANCES or size + instance.size > _REQUEST_BYTES):
            yield part
            part, size = [], 0
        part.append(instance)
        size += instance.size
    if part:
        yield part


def _stored(answer: httpx.Response, url: str) -> set[str]:
    """Return the SOP Instance UIDs that the destination says it has."""
    if (
        answer.status_code in {401, 403, 408, 425, 429}
        or answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR
    ):
        # Rights and rates are mended; the instances are not at fault.
        raise Unavailable(f"{url} answered {answer.status_code}")
    try:
        document = orjson.loads(answer.content)
        items = document.get(_STORED_SOPS, {}).get("Value", [])
        return {item[_SOP]["Value"][0] for item in items}
    except (orjson.JSONDecodeError, AttributeError, KeyError, IndexError, TypeError) as error:
        if answer.is_success:
            raise Unavailable(f"{url} answered {answer.status_code} and what is no store response") from error
        return set()
