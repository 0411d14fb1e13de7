"""The bulk data of several instances as one answer (PS3.18 10.4.1.1.5, CP-2040)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from gantry_dicom.errors import NotAcceptable, NotFound
from gantry_dicom.frames import FrameTable
from gantry_index.records import StoredInstance
from starlette.requests import Request
from starlette.responses import Response

from gantry_gateway.bulk_values import BulkReader
from gantry_gateway.byte_ranges import strong_etag
from gantry_gateway.entrypoints.context import base_url, components, partition_of, uid_of
from gantry_gateway.frames import FrameReader
from gantry_gateway.media_types import MediaType, matches
from gantry_gateway.outgoing import Made, Part, StreamedPart, WholePart, partial_answer, respond
from gantry_gateway.pixel_parts import pixel_parts
from gantry_gateway.representations import MULTIPART, OCTET_STREAM, inner_type

_BULK_PATH = re.compile(rb'"BulkDataURI":"[^"]*/instances/([0-9.]+)/bulkdata/([^"]+)"')


async def respond_with_bulk_data(
    request: Request,
    instances: Sequence[StoredInstance],
    ranges: Sequence[MediaType],
    *,
    pixels_only: bool = False,
) -> Response:
    """Answer every value that the metadata of ``instances`` names by a BulkDataURI, as multipart.

    ``pixels_only`` leaves out all but the pixel data. What cannot be given as asked is left out
    with a warning; raises ``NotAcceptable`` when that is everything, ``NotFound`` when the
    instances have nothing of the kind.
    """
    parts = components(request)
    base = f"{base_url(request)}/studies"
    gathered = _Gathered(parts.frames, base, ranges)
    paths = {} if pixels_only else await _bulk_paths(request)
    for instance in instances:
        table = FrameTable.unpack(instance.frame_table)
        pixel_path = f"{table.pixel_data_tag:08X}" if table.kind != "none" else ""
        for path in [pixel_path] if pixels_only else paths.get(instance.sop_uid, ()):
            if path and path == pixel_path:
                gathered.add_pixels(instance, table, path)
            elif path:
                gathered.add_value(instance, table, path)
    if not gathered.parts:
        if gathered.missing:
            raise NotAcceptable(f"bulk data is answered as {MULTIPART}, the most of it as {OCTET_STREAM}")
        raise NotFound("the instances have no bulk data of this kind")
    keys = [(instance.store_id, instance.object_key) for instance in instances]
    etag = strong_etag("bulk data", keys, ranges, pixels_only, base)
    answer = await respond(request, gathered.parts, etag=etag)
    return partial_answer(answer, gathered.missing, "values cannot be given in these media types")


@dataclass(slots=True)
class _Gathered:
    """The parts of an answer as they are found to be acceptable, and how many values are not."""

    frames: FrameReader
    base: str
    ranges: Sequence[MediaType]
    parts: list[Part] = field(default_factory=list)
    missing: int = 0

    def add_pixels(self, instance: StoredInstance, table: FrameTable, path: str) -> None:
        location = self._location(instance, path)
        try:
            found = pixel_parts(self.frames, instance, table, self.ranges, location, single_allowed=False)
        except (NotAcceptable, NotFound):
            self.missing += 1
        else:
            self.parts.extend(found.parts)

    def add_value(self, instance: StoredInstance, table: FrameTable, path: str) -> None:
        inner = [inner_type(wanted, "*/*") for wanted in self.ranges if wanted.essence == MULTIPART]
        anything = any(wanted.essence in ("*/*", "multipart/*") for wanted in self.ranges)
        if not anything and not any(matches(wanted, OCTET_STREAM) for wanted in inner):
            self.missing += 1
            return
        location = self._location(instance, path)

        async def make() -> Made:
            found = await BulkReader(self.frames).find(instance, table, path)
            part = found.part(OCTET_STREAM, location)
            if isinstance(part, StreamedPart):
                return Made(part.open(0, part.length), OCTET_STREAM)
            return await part.make()

        # Next to nothing is known of it before it is read; the gate bounds it with its header.
        self.parts.append(
            WholePart(OCTET_STREAM, make, instance.size - table.value_length, location=location)
        )

    def _location(self, instance: StoredInstance, path: str) -> str:
        return (
            f"{self.base}/{instance.study_uid}/series/{instance.series_uid}"
            f"/instances/{instance.sop_uid}/bulkdata/{path}"
        )


async def _bulk_paths(request: Request) -> dict[str, list[str]]:
    """Return the bulk data paths that the metadata name, by SOP Instance UID."""
    answer = await components(request).index.metadata(
        partition_of(request),
        uid_of(request, "study") or "",
        uid_of(request, "series"),
        uid_of(request, "instance"),
    )
    paths: dict[str, list[str]] = {}
    for document in answer.objects:
        for sop_uid, path in _BULK_PATH.findall(document):
            paths.setdefault(sop_uid.decode(), []).append(path.decode())
    return paths
