"""Storing instances that come as metadata and bulk data (PS3.18 10.5.2, Table 10.5.2-1).

Bulk data are found by their Content-Location, which may stand in any order and serve several
instances: nothing can be stored before the body is complete. Until then all of it lies in the spool.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from gantry_dicom.bulk_parts import BulkPart, BulkParts, file_of
from gantry_dicom.errors import BadRequest, OutOfResources
from gantry_dicom.json_decoder import parse_documents, text_of
from gantry_dicom.refusals import Refusal, Refused
from gantry_dicom.xml_decoder import json_from_native_model
from gantry_reception.spool import Spool, SpooledPart
from gantry_telemetry.logs import get_logger

from gantry_gateway.media_types import MediaType, parse_media_type
from gantry_gateway.multipart import MultipartReader, PartData, PartStarted
from gantry_gateway.stow_answer import Failed, PartResult, failed
from gantry_gateway.stow_intake import StowIntake
from gantry_gateway.stow_parts import Pile, StowLimits, bounded

log = get_logger(__name__)

DICOM_JSON = "application/dicom+json"
DICOM_XML = "application/dicom+xml"
METADATA_TYPES = (DICOM_JSON, DICOM_XML)


@dataclass(slots=True)
class _Body:
    """What came: metadata parts, and bulk data parts with their type and location."""

    metadata: Pile
    bulk: Pile
    described: list[tuple[MediaType, str]] = field(default_factory=list)

    def bulk_parts(self) -> BulkParts:
        found: dict[str, list[BulkPart]] = {}
        for (media_type, location), data in zip(self.described, self.bulk.parts(), strict=True):
            syntax = media_type.parameters.get("transfer-syntax", "")
            found.setdefault(location, []).append(BulkPart(media_type.essence, syntax, data))
        return found


async def store_metadata_parts(
    intake: StowIntake, body: AsyncIterator[bytes], boundary: str, form: str, slots: asyncio.Semaphore
) -> list[PartResult]:
    """Store the instances of a multipart body of metadata in ``form`` and bulk data.

    ``slots`` bounds how many such requests of the process are read and stored at a time. Raises
    ``BadRequest``, ``TooLarge`` and ``OutOfResources`` before anything is stored.
    """
    with ExitStack() as spooled:
        taken = _empty_body(intake, spooled)
        reader = MultipartReader(boundary)
        into = taken.metadata
        async for chunk in bounded(body, intake.limits.body_bytes):
            for event in reader.feed(chunk):
                match event:
                    case PartStarted(headers):
                        media_type = _media_type(headers)
                        into = taken.metadata if media_type.essence == form else taken.bulk
                        into.begin()
                        if into is taken.bulk:
                            taken.described.append((media_type, headers.get("content-location", "")))
                    case PartData(data):
                        into.write(data)
        reader.finish()
        if not taken.metadata.ranges:
            raise BadRequest(f"no part is {form}")
        async with slots:
            return await _store(intake, taken, form)


async def store_metadata_alone(
    intake: StowIntake, body: AsyncIterator[bytes], form: str, slots: asyncio.Semaphore
) -> list[PartResult]:
    """Store the instances of a body that is metadata and nothing else; raises as above."""
    with ExitStack() as spooled:
        taken = _empty_body(intake, spooled)
        taken.metadata.begin()
        async for chunk in bounded(body, intake.limits.body_bytes):
            taken.metadata.write(chunk)
        async with slots:
            return await _store(intake, taken, form)


def _empty_body(intake: StowIntake, spooled: ExitStack) -> _Body:
    metadata = spooled.enter_context(intake.spool.part())
    bulk = spooled.enter_context(intake.spool.part())
    return _Body(Pile(metadata, intake.limits.metadata_bytes), Pile(bulk, intake.limits.body_bytes))


def _media_type(headers: Mapping[str, str]) -> MediaType:
    text = headers.get("content-type", "")
    return parse_media_type(text) if text else MediaType("application", "octet-stream")


async def _store(intake: StowIntake, taken: _Body, form: str) -> list[PartResult]:
    documents = await asyncio.to_thread(_documents, taken.metadata, form)
    bulk = taken.bulk_parts()
    slots = asyncio.Semaphore(intake.limits.parallel)

    async def store_one(document: Any) -> PartResult:  # noqa: ANN401 - whatever the JSON holds
        if isinstance(document, Failed):
            return document
        async with slots:
            try:
                part = await asyncio.to_thread(_spooled_file, document, bulk, intake.spool, intake.limits)
            except Refused as error:
                return failed(error.reason, *_identity(document))
            except OutOfResources:
                return failed(Refusal.OUT_OF_RESOURCES, *_identity(document))
            except Exception:
                log.exception("stow_metadata_crashed")
                return failed(Refusal.PROCESSING_FAILURE, *_identity(document))
            with part:
                return await intake.store_part(part)

    return await asyncio.gather(*(store_one(document) for document in documents))


def _identity(document: Any) -> tuple[str, str]:  # noqa: ANN401
    return text_of(document, "00080016"), text_of(document, "00080018")


def _documents(metadata: Pile, form: str) -> list[Any]:
    """Return the instances' metadata as JSON objects, with a failure for each that cannot be read.

    One JSON part holds all of them, one XML part one. Raises ``BadRequest``.
    """
    parts = [bytes(part) for part in metadata.parts()]
    if form == DICOM_JSON:
        return [document for part in parts for document in parse_documents(part)]
    documents: list[Any] = []
    for part in parts:
        try:
            documents.append(json_from_native_model(part))
        except Refused as error:
            documents.append(failed(error.reason))
    return documents


def _spooled_file(document: Any, bulk: BulkParts, spool: Spool, limits: StowLimits) -> SpooledPart:  # noqa: ANN401
    pieces = file_of(document, bulk)
    size = sum(len(piece) for piece in pieces)
    if size > limits.part_bytes:
        raise Refused(Refusal.TOO_LARGE)
    part = spool.part(size)
    try:
        for piece in pieces:
            part.write(piece)
    except BaseException:
        part.close()
        raise
    return part
