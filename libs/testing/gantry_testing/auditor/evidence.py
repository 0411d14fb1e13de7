"""Gathering: manifests and objects from the store, rows from the index, bytes from the gateway.

The SQL here is the auditor's own: it counts again instead of asking the product to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import psycopg
from gantry.reception.v1.reception_pb2 import (
    MANIFEST_WRITER_SWEEPER,
    OUTCOME_REFUSED,
    OUTCOME_UNANSWERED,
    Manifest,
)
from gantry.retention.v1.retention_pb2 import Certificate
from gantry_dicom.errors import GantryError, NotFound
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.records import read_manifest
from gantry_objectstore.sealing import Sealer

from gantry_testing.auditor.values import (
    Answer,
    Content,
    Finding,
    Identity,
    IndexedInstance,
    ManifestLine,
    SentInstance,
    Served,
    StoredObject,
    Verdict,
    content_of,
)
from gantry_testing.web import ANY_TRANSFER_SYNTAX, decode_multipart

PARALLEL = 8
# gantry.index.v1.VerdictState
_STATES = {
    1: "pending",
    2: "indexed",
    3: "duplicate",
    4: "conflict-loser",
    5: "quarantined",
    6: "tombstoned",
}

# Each query gives (subject, what is stored, what a recount gives) where the two differ.
RECOUNTS: dict[str, str] = {
    "study-series-count": """
        SELECT t.partition || '/' || t.study_uid, t.series_count::text, count(DISTINCT i.series_pk)::text
        FROM study t LEFT JOIN instance i ON i.study_pk = t.id
        GROUP BY t.id HAVING t.series_count <> count(DISTINCT i.series_pk)""",
    "study-instance-count": """
        SELECT t.partition || '/' || t.study_uid, t.instance_count::text, count(i.sop_uid)::text
        FROM study t LEFT JOIN instance i ON i.study_pk = t.id
        GROUP BY t.id HAVING t.instance_count <> count(i.sop_uid)""",
    "series-instance-count": """
        SELECT s.partition || '/' || s.series_uid, s.instance_count::text, count(i.sop_uid)::text
        FROM series s LEFT JOIN instance i ON i.series_pk = s.id
        GROUP BY s.id HAVING s.instance_count <> count(i.sop_uid)""",
    "study-modalities": """
        SELECT x.subject, x.stored::text, x.counted::text FROM (
            SELECT t.partition || '/' || t.study_uid AS subject,
                   (SELECT coalesce(array_agg(m ORDER BY m), '{}') FROM unnest(t.modalities) m) AS stored,
                   (SELECT coalesce(array_agg(DISTINCT s.modality ORDER BY s.modality), '{}')
                      FROM series s WHERE s.study_pk = t.id AND s.modality <> ''
                       AND EXISTS (SELECT FROM instance i WHERE i.series_pk = s.id)) AS counted
            FROM study t) x
        WHERE x.stored::text[] <> x.counted::text[]""",
    "study-sop-classes": """
        SELECT x.subject, x.stored::text, x.counted::text FROM (
            SELECT t.partition || '/' || t.study_uid AS subject,
                   (SELECT coalesce(array_agg(c ORDER BY c), '{}') FROM unnest(t.sop_classes) c) AS stored,
                   (SELECT coalesce(array_agg(DISTINCT i.sop_class_uid ORDER BY i.sop_class_uid), '{}')
                      FROM instance i WHERE i.study_pk = t.id) AS counted
            FROM study t) x
        WHERE x.stored::text[] <> x.counted::text[]""",
    "study-modality-table": """
        SELECT coalesce(a.subject, b.subject), coalesce(a.modality, '-'), coalesce(b.modality, '-')
        FROM (SELECT t.partition || '/' || t.study_uid AS subject, m.modality
                FROM study_modality m JOIN study t ON t.id = m.study_pk) a
        FULL JOIN (SELECT DISTINCT t.partition || '/' || t.study_uid AS subject, s.modality
                     FROM series s JOIN study t ON t.id = s.study_pk WHERE s.modality <> '') b
               ON a.subject = b.subject AND a.modality = b.modality
        WHERE a.subject IS NULL OR b.subject IS NULL""",
    "study-order-key": """
        SELECT t.partition || '/' || t.study_uid, t.order_key, min(i.order_key)
        FROM study t JOIN instance i ON i.study_pk = t.id
        GROUP BY t.id HAVING t.order_key <> min(i.order_key)""",
    "study-patient": """
        SELECT t.partition || '/' || t.study_uid, 'no patient row', t.patient_id
        FROM study t LEFT JOIN patient p ON p.id = t.patient_pk
        WHERE coalesce(t.patient_id, '') <> ''
          AND (p.id IS NULL OR p.partition <> t.partition OR p.patient_id <> t.patient_id
               OR p.issuer <> coalesce(t.patient_issuer, ''))""",
    "series-partition": """
        SELECT s.series_uid, s.partition, t.partition
        FROM series s JOIN study t ON t.id = s.study_pk WHERE s.partition <> t.partition""",
    "instance-place": """
        SELECT i.sop_uid, i.partition, t.partition
        FROM instance i JOIN study t ON t.id = i.study_pk JOIN series s ON s.id = i.series_pk
        WHERE i.partition <> t.partition OR s.study_pk <> t.id""",
    # No foreign key holds it: it would cost an eighth of an insert.
    "instance-segment": """
        SELECT i.sop_uid, i.segment_pk::text, coalesce(g.series_pk::text, 'no segment')
        FROM instance i LEFT JOIN segment g ON g.id = i.segment_pk
        WHERE g.id IS NULL OR g.series_pk <> i.series_pk""",
    "documents-present": """
        SELECT t.study_uid, 'study', 'no document'
        FROM study t LEFT JOIN study_document d ON d.study_pk = t.id WHERE d.study_pk IS NULL
        UNION ALL
        SELECT s.series_uid, 'series', 'no document'
        FROM series s LEFT JOIN series_document d ON d.series_pk = s.id WHERE d.series_pk IS NULL""",
}


async def read_manifests(store: ObjectStore, sealer: Sealer) -> tuple[list[ManifestLine], list[str]]:
    """Return every line of every manifest, and the keys of those that do not open."""
    lines: list[ManifestLine] = []
    unreadable: list[str] = []
    async for info in store.list("m/"):
        try:
            manifest = await read_manifest(store, info.key, sealer)
        except GantryError:
            unreadable.append(info.key)
        else:
            lines += _lines(info.key, manifest)
    return lines, unreadable


async def read_certificates(store: ObjectStore, sealer: Sealer) -> tuple[frozenset[str], list[str]]:
    """Return the keys of all objects that were destroyed, and the keys of certificates that do not open."""
    destroyed: set[str] = set()
    unreadable: list[str] = []
    async for info in store.list("d/"):
        try:
            certificate = sealer.open(await store.get(info.key), Certificate)
        except GantryError:
            unreadable.append(info.key)
        else:
            destroyed |= {one.object_key for one in certificate.objects}
    return frozenset(destroyed), unreadable


def _lines(manifest_key: str, manifest: Manifest) -> list[ManifestLine]:
    return [
        ManifestLine(
            manifest_key=manifest_key,
            partition=manifest.partition,
            object_key=line.object_key,
            order_key=f"{line.batch}{line.ordinal:08d}",
            study_uid=line.study_instance_uid,
            sop_uid=line.sop_instance_uid,
            data_set_sha256=line.data_set_digest.hex(),
            meta_sha256=line.meta_digest.hex(),
            meta_length=line.meta_length,
            size=line.size,
            refused=line.outcome == OUTCOME_REFUSED,
            transfer_syntax_uid=line.transfer_syntax_uid,
            unanswered=line.outcome == OUTCOME_UNANSWERED,
            swept=manifest.writer == MANIFEST_WRITER_SWEEPER,
        )
        for line in manifest.receptions
    ]


async def list_objects(store: ObjectStore) -> dict[str, StoredObject]:
    """Return what lies under ``o/``."""
    return {
        info.key: StoredObject(info.key, info.size, info.last_modified) async for info in store.list("o/")
    }


async def read_contents(store: ObjectStore, keys: Sequence[str]) -> dict[str, Content]:
    """Return the digests of the objects at ``keys``, those that are there."""
    contents: dict[str, Content] = {}
    free = asyncio.Semaphore(PARALLEL)

    async def read(key: str) -> None:
        async with free:
            try:
                data = await store.get(key)
            except NotFound:
                return
        contents[key] = content_of(data)

    await asyncio.gather(*(read(key) for key in keys))
    return contents


def read_index(dsn: str) -> tuple[dict[str, Verdict], list[IndexedInstance], list[Finding]]:
    """Return verdicts, instances and what a recount finds wrong, in one snapshot."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        verdicts = {
            key: Verdict(key, partition, study, sop, digest.hex(), _STATES.get(state, str(state)), survivor)
            for key, partition, study, sop, digest, state, survivor in connection.execute(
                "SELECT object_key, partition, study_uid, sop_uid, data_set_digest, state, survivor_key"
                " FROM reception"
            )
        }
        instances = [
            IndexedInstance(partition, study, series, sop, key, digest.hex())
            for partition, study, series, sop, key, digest in connection.execute(
                "SELECT i.partition, t.study_uid, s.series_uid, i.sop_uid, i.object_key, i.data_set_digest"
                " FROM instance i JOIN study t ON t.id = i.study_pk JOIN series s ON s.id = i.series_pk"
            )
        ]
        return verdicts, instances, _recount(connection)


def _recount(connection: psycopg.Connection[tuple[Any, ...]]) -> list[Finding]:
    findings = []
    for rule, query in RECOUNTS.items():
        for subject, stored, counted in connection.execute(query.encode()):
            findings.append(Finding(f"recount:{rule}", subject, f"stored {stored}, counted {counted}"))
    return findings


async def retrieve(
    gateway_url: str, sent: Sequence[SentInstance], instances: Sequence[IndexedInstance]
) -> dict[Identity, Served]:
    """Return what WADO-RS gives for every acknowledged instance that the index shows.

    ``gateway_url`` is the server's root; ``main`` lies under ``/dicom-web``, others under
    ``/partitions/{partition}/dicom-web``.
    """
    series = {(i.partition, i.study_uid, i.sop_uid): i.series_uid for i in instances}
    wanted = {
        (item.partition, item.study_uid, item.sop_uid): item.series_uid
        for item in sent
        if item.answer is Answer.ACKNOWLEDGED
    }
    served: dict[Identity, Served] = {}
    free = asyncio.Semaphore(PARALLEL)
    async with httpx.AsyncClient(timeout=60) as client:

        async def fetch(identity: Identity) -> None:
            partition, study_uid, sop_uid = identity
            root = gateway_url.rstrip("/") + ("" if partition == "main" else f"/partitions/{partition}")
            path = f"/studies/{study_uid}/series/{series[identity]}/instances/{sop_uid}"
            async with free:
                answer = await client.get(f"{root}/dicom-web{path}", headers={"Accept": ANY_TRANSFER_SYNTAX})
            content = None
            if answer.status_code == 200:
                content = content_of(decode_multipart(answer.headers["content-type"], answer.content)[0].body)
            served[identity] = Served(answer.status_code, content)

        await asyncio.gather(*(fetch(identity) for identity in wanted if identity in series))
    return served
