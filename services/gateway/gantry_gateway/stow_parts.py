"""The parts of a STOW-RS body as they arrive, each spooled, the whole within bounds (PS3.18 10.5)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field

from gantry_dicom.errors import OutOfResources, TooLarge
from gantry_dicom.gate import GateLimits
from gantry_dicom.refusals import Refusal
from gantry_reception.spool import Spool, SpooledPart

from gantry_gateway.multipart import MultipartReader, PartData, PartEnded, PartStarted


@dataclass(frozen=True, slots=True)
class StowLimits:
    """Bounds of one request; sizes in bytes."""

    part_bytes: int
    body_bytes: int
    metadata_bytes: int
    parallel: int
    verdict_seconds: float
    gate: GateLimits


@dataclass(slots=True)
class IncomingPart:
    """A part that is arriving; one too long or without room is forgotten and the rest skipped."""

    headers: Mapping[str, str]
    spooled: SpooledPart
    maximum: int
    failure: Refusal | None = None

    def write(self, data: bytes | memoryview) -> None:
        """Append some bytes."""
        if self.failure is not None:
            return
        if self.spooled.size + len(data) > self.maximum:
            # Not "out of resources", which invites the sender to try again.
            self._forget(Refusal.PROCESSING_FAILURE)
            return
        try:
            self.spooled.write(data)
        except OutOfResources:
            self._forget(Refusal.OUT_OF_RESOURCES)

    def _forget(self, failure: Refusal) -> None:
        self.failure = failure
        self.spooled.close()


async def bounded(body: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    """Yield a body; raises ``TooLarge`` when it is longer than ``limit`` bytes."""
    total = 0
    async for chunk in body:
        total += len(chunk)
        if total > limit:
            raise TooLarge("the request is longer than this server takes")
        yield chunk


async def incoming_parts(
    body: AsyncIterator[bytes], boundary: str, spool: Spool, limits: StowLimits
) -> AsyncGenerator[IncomingPart, None]:
    """Yield each part once it is complete; whoever takes it closes it.

    Raises ``BadRequest`` or ``TooLarge`` where the body turns out to be malformed or too long.
    """
    reader = MultipartReader(boundary)
    part: IncomingPart | None = None
    try:
        async for chunk in bounded(body, limits.body_bytes):
            for event in reader.feed(chunk):
                match event:
                    case PartStarted(headers):
                        part = IncomingPart(headers, spool.part(), limits.part_bytes)
                    case PartData(data) if part is not None:
                        part.write(data)
                    case PartEnded() if part is not None:
                        complete, part = part, None
                        yield complete
        reader.finish()
    finally:
        if part is not None:
            part.spooled.close()


@dataclass(slots=True)
class Pile:
    """Many parts in one spooled file, for what is only read when the body is complete."""

    spooled: SpooledPart
    maximum: int
    ranges: list[tuple[int, int]] = field(default_factory=list)

    def begin(self) -> None:
        """Begin another part."""
        self.ranges.append((self.spooled.size, self.spooled.size))

    def write(self, data: bytes | memoryview) -> None:
        """Append to the part begun last. Raises ``TooLarge`` and ``OutOfResources``."""
        start, end = self.ranges[-1]
        if self.spooled.size + len(data) > self.maximum:
            raise TooLarge("the parts are longer than this server takes")
        self.spooled.write(data)
        self.ranges[-1] = (start, end + len(data))

    def parts(self) -> list[memoryview]:
        """Return the bytes of each part, to be read until the pile is closed."""
        view = memoryview(self.spooled.buffer())
        return [view[start:end] for start, end in self.ranges]
