"""``gantry audit``: access records, searched in their index or in the bucket, and verified in the bucket."""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from gantry.access.v1.access_pb2 import AccessKind, AccessRecord
from gantry_access.audit_chain import read_records, verify
from gantry_dicom.errors import BadRequest, NotFound, Unavailable
from gantry_embedded.s3 import S3Server
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import open_store

from gantry_cli.access import AccessOptions, administration
from gantry_cli.exits import FAILED, OK
from gantry_cli.options import OBJECTS_FOLDER, S3_FOLDER, SEAL_KEYS_FILE, store_of
from gantry_cli.terminal import say, table
from gantry_cli.tokens import read_secret

STORE_VARIABLE = "GANTRY_STORE_URL"
KIND_PREFIX = "ACCESS_KIND_"
T = TypeVar("T")
Document = dict[str, Any]
Bucket = Callable[[ObjectStore, Sealer], Awaitable[T]]


def run(access: AccessOptions, options: argparse.Namespace) -> int:
    """Run ``audit search`` or ``audit verify``. Raises the ``GantryError`` that it ends with."""
    return _verify(access, options) if options.action == "verify" else _search(access, options)


def _verify(access: AccessOptions, options: argparse.Namespace) -> int:
    found = _in_bucket(access, verify)
    if options.json:
        say(json.dumps(asdict(found), indent=2))
        return FAILED if found.problems else OK
    say(f"{found.records} records in {found.batches} batches of {found.writers} writers")
    say("(what was done in the last half minute is not among them yet)")
    if found.unclosed:
        say(f"{len(found.unclosed)} writers have not ended their chain: they run, or were cut off:")
        for writer in found.unclosed:
            say(f"  {writer}")
    for problem in found.problems:
        say(f"BROKEN {problem.key}: {problem.what}")
    say("Not all is as it was written." if found.problems else "Every record is as it was written.")
    return FAILED if found.problems else OK


def _search(access: AccessOptions, options: argparse.Namespace) -> int:
    try:
        newest_first: list[Document] = administration(access).ask("GET", "/audit", query=_query(options))
        found = newest_first[::-1]
    except (NotFound, Unavailable):
        # No index of the records, or nobody to ask: the bucket has them all, only slower.
        if access.issuer and not os.environ.get(STORE_VARIABLE):
            raise
        found = _in_bucket(access, lambda store, sealer: _newest(store, sealer, options))
    if options.json:
        say(json.dumps(found, indent=2))
        return OK
    rows = [
        (
            str(record["occurred_at"])[:19],
            str(record["kind"]),
            record["principal"] or "-",
            record["peer_address"] or "-",
            record["operation"],
            record["outcome"] or "-",
            record["study_instance_uid"] or "-",
            str(record["instance_count"] or "-"),
        )
        for record in found
    ]
    for line in table(("TIME (UTC)", "KIND", "ACTOR", "FROM", "WHAT", "OUTCOME", "STUDY", "INSTANCES"), rows):
        say(line)
    return OK


def _query(options: argparse.Namespace) -> dict[str, str]:
    asked = {
        "from": options.since.isoformat() if options.since else "",
        "to": options.until.isoformat() if options.until else "",
        "actor": options.actor,
        "action": options.kind or "",
        "study": options.study,
        "limit": str(options.limit),
    }
    return {name: value for name, value in asked.items() if value}


async def _newest(store: ObjectStore, sealer: Sealer, options: argparse.Namespace) -> list[Document]:
    """Return the newest records that match, oldest of them first."""
    kept: list[tuple[int, int, Document]] = []
    number = 0
    async for writer, record in read_records(store, sealer):
        if not _matches(record, options):
            continue
        number += 1
        heapq.heappush(kept, (record.occurred_at_us, number, document_of(writer, record)))
        if len(kept) > options.limit:
            heapq.heappop(kept)
    return [document for _, _, document in sorted(kept, key=lambda item: item[:2])]


def _matches(record: AccessRecord, options: argparse.Namespace) -> bool:
    occurred_at = _moment(record)
    return (
        (options.since is None or occurred_at >= options.since)
        and (options.until is None or occurred_at < options.until)
        and options.actor in ("", record.principal)
        and options.kind in (None, _kind(record))
        and options.study in ("", record.study_instance_uid)
    )


def document_of(writer: str, record: AccessRecord) -> Document:
    """Return a record as it is shown and printed for programs."""
    return {
        "writer": writer,
        "sequence": record.sequence,
        "occurred_at": _moment(record).isoformat(),
        "kind": _kind(record),
        "principal": record.principal,
        "peer_address": record.peer_address,
        "partition": record.partition,
        "study_instance_uid": record.study_instance_uid,
        "instance_count": len(record.sop_instance_uids),
        "sop_instance_uids": list(record.sop_instance_uids),
        "operation": record.operation,
        "outcome": record.outcome,
    }


def _moment(record: AccessRecord) -> datetime:
    return datetime.fromtimestamp(record.occurred_at_us / 1e6, UTC)


def _kind(record: AccessRecord) -> str:
    return AccessKind.Name(record.kind).removeprefix(KIND_PREFIX).lower()


def _in_bucket(access: AccessOptions, work: Bucket[T]) -> T:
    """Run ``work`` on the object store, the one that the environment names or the local stack's."""

    async def run_it() -> T:
        store, sealer = _open_bucket(access.state)
        try:
            return await work(store, sealer)
        finally:
            await store.close()

    return asyncio.run(run_it())


def _open_bucket(state: Path) -> tuple[ObjectStore, Sealer]:
    url, keys = os.environ.get(STORE_VARIABLE, ""), os.environ.get("GANTRY_SEAL_KEYS", "")
    if url:
        if not keys:
            raise BadRequest(f"{STORE_VARIABLE} names the bucket; GANTRY_SEAL_KEYS must hold its keys")
        return open_store(url), Sealer.from_text(keys)
    store = store_of(state)
    sealer = Sealer.from_text(read_secret(state / SEAL_KEYS_FILE))
    if store == "file":
        return open_store((state / OBJECTS_FOLDER).as_uri()), sealer
    server = S3Server(state / S3_FOLDER).recall()
    settings = StoreSettings(access_key=server.access_key, secret_key=server.secret_key)
    return open_store(server.url, options=settings), sealer
