"""Recounts a study from its instances, and finds studies whose numbers differ from a recount.

Inserts only add to a study's numbers. Whatever else happens below a study (another winner,
a deletion) locks its row in a statement of its own and recounts in the next ones, because
a statement does not see what was committed while it waited for a lock.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gantry_telemetry.logs import get_logger
from gantry_telemetry.metrics import counter

from gantry_index import recount_statements as sql
from gantry_index.arrivals import lock_key
from gantry_index.chunk_rows import patient_row
from gantry_index.levels import Levels
from gantry_index.pools import Connection, IndexPool
from gantry_index.search import Database
from gantry_index.segments import read_levels
from gantry_index.statements import SERIES_VALUES, STUDY_VALUES

log = get_logger(__name__)

DIFFERING = counter("gantry_index_differing_studies", "Studies found whose aggregates differ from a recount")


@dataclass(frozen=True, slots=True)
class Difference:
    """A study whose stored aggregates are not what a recount gives, and which of them."""

    partition: str
    study_uid: str
    fields: tuple[str, ...]


async def recount(pool: IndexPool, partition: str, study_uid: str) -> bool:
    """Recount one study in a transaction of its own; ``False`` when there is no such study.

    Raises ``Unavailable``.
    """
    async with pool.transaction() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock($1)", lock_key("study", partition, study_uid))
        study_pk = await connection.fetchval(
            "SELECT id FROM study WHERE partition = $1 AND study_uid = $2", partition, study_uid
        )
        if study_pk is not None:
            await settle_patients(connection, await recount_study(connection, study_pk))
        return study_pk is not None


async def differences(pool: IndexPool, *, page: int = 500) -> AsyncIterator[Difference]:
    """Yield every study whose aggregates differ from a recount (the auditor's invariant).

    Studies are read in pages by id, each in a snapshot of its own, so the index stays in use.
    Raises ``Unavailable``.
    """
    after: int | None = 0
    while after is not None:
        found, after = await differences_after(pool, after, page)
        for difference in found:
            yield difference


async def differences_after(
    database: Database, after: int, page: int = 500
) -> tuple[list[Difference], int | None]:
    """Look at ``page`` studies behind the id ``after``.

    Returns those that differ from a recount, and the id to go on behind; ``None`` at the end. Raises
    ``Unavailable``.
    """
    rows = await database.fetch(sql.DIFFERENCES, after, page)
    found = []
    for row in rows:
        fields = _differing(row)
        if fields:
            DIFFERING.inc()
            log.error("aggregates_differ", partition=row["partition"], study_instance_uid=row["study_uid"])
            found.append(Difference(row["partition"], row["study_uid"], fields))
    return found, rows[-1]["id"] if len(rows) == page else None


async def difference_of(database: Database, partition: str, study_uid: str) -> Difference | None:
    """Return in what a study differs from a recount, ``None`` when there is no such study.

    Raises ``Unavailable``.
    """
    rows = await database.fetch(sql.DIFFERENCE, partition, study_uid)
    if not rows:
        return None
    return Difference(partition, study_uid, _differing(rows[0]))


async def recount_study(connection: Connection, study_pk: int, *, renewed: bool = False) -> set[int]:
    """Recount everything that is stored of a study; returns patient rows that it has left.

    With ``renewed`` its values and those of its series are read again, although the instances that
    they come from are the same ones. The caller holds the study's advisory lock in the current
    transaction, and passes what is returned to ``settle_patients``.
    """
    study = await connection.fetchrow(sql.LOCK_STUDY, study_pk)
    await connection.execute(sql.DROP_EMPTY_SERIES, study_pk)
    firsts = await connection.fetch(sql.FIRST_OF_SERIES, study_pk)
    if not firsts:
        await connection.execute("DELETE FROM study WHERE id = $1", study_pk)
        return {study["patient_pk"]} - {None}
    first_key = min(row["first_key"] for row in firsts)
    wanting = [row for row in firsts if renewed or row["first_key"] != row["order_key"]]
    is_wanting = renewed or first_key != study["order_key"] or not study["is_linked"]
    sources = {row["first_key"] for row in wanting} | ({first_key} if is_wanting else set())
    levels = await _levels(connection, study_pk, sources) if sources else {}
    for row in wanting:
        await _rewrite_series(connection, row["series_pk"], row["first_key"], levels[row["first_key"]])
    left: set[int] = set()
    if is_wanting:
        patient_pk = await _rewrite_study(connection, study, first_key, levels[first_key])
        left = {study["patient_pk"], patient_pk} - {None}
    await connection.execute(sql.RECOUNT_SERIES, study_pk)
    await connection.execute(sql.RECOUNT_STUDY, study_pk)
    await connection.execute(sql.DROP_MODALITIES, study_pk)
    await connection.execute(sql.PUT_MODALITIES, study_pk)
    return left


async def settle_patients(connection: Connection, patient_pks: Iterable[int]) -> None:
    """Make patient rows say what the first of their studies says; drop those without a study."""
    ids = sorted(patient_pks)
    if ids:
        await connection.fetch(sql.LOCK_PATIENTS, ids)
        await connection.execute(sql.DROP_LONE_PATIENTS, ids)
        await connection.execute(sql.REWRITE_PATIENTS, ids)


async def _levels(connection: Connection, study_pk: int, order_keys: Iterable[str]) -> dict[str, Levels]:
    rows = await connection.fetch(sql.LEVELS, study_pk, sorted(order_keys))
    return {
        row["order_key"]: read_levels(
            row["metadata"], row["levels"], row["level_offset"], row["level_length"]
        )
        for row in rows
    }


async def _rewrite_series(connection: Connection, series_pk: int, order_key: str, levels: Levels) -> None:
    series = levels.series
    values = [_value(getattr(series, name)) for name in SERIES_VALUES]
    await connection.execute(sql.REWRITE_SERIES, series_pk, order_key, *values)
    await connection.execute(sql.REWRITE_SERIES_DOCUMENT, series_pk, series.document, series.extra)


async def _rewrite_study(
    connection: Connection, study: Mapping[str, Any], order_key: str, levels: Levels
) -> int | None:
    level = levels.study
    study_pk, partition = study["id"], study["partition"]
    patient_pk: int | None = None
    if level.patient_id is not None:
        patient_pk = await connection.fetchval(sql.PUT_PATIENT, *patient_row(partition, order_key, level))
    values = [getattr(level, name) for name in STUDY_VALUES]
    await connection.execute(sql.REWRITE_STUDY, study_pk, patient_pk, order_key, *values)
    await connection.execute(sql.REWRITE_STUDY_DOCUMENT, study_pk, level.document, level.extra)
    return patient_pk


def _differing(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in sql.DIFFERENCE_FIELDS if row[name])


def _value(value: object) -> object:
    return json.dumps(value) if isinstance(value, tuple) else value
