"""What amendments do to the index: hide, restore, and cover what arrives later by the same key."""

from __future__ import annotations

import pytest
from gantry.amendment.v1.amendment_pb2 import AMENDMENT_KIND_HIDE, AMENDMENT_KIND_RESTORE, Amendment
from gantry.index.v1.index_pb2 import (
    VERDICT_STATE_DUPLICATE,
    VERDICT_STATE_INDEXED,
    VERDICT_STATE_PENDING,
    VERDICT_STATE_TOMBSTONED,
)
from gantry_dicom.errors import CannotProcess
from gantry_index.aggregates import differences
from gantry_index.amendments import (
    applied_revision,
    apply_amendment,
    covered_receptions,
    is_hidden,
    waiting_receptions,
)
from gantry_testing.index_records import index_record
from gantry_testing.index_state import index_state

STUDY = "1.1"
SCOPE = "5c" * 20


def study_records():
    return [
        index_record(order=n, study=STUDY, series=f"1.1.{n % 2}", sop=f"9.{n}", modality=("CT", "SR")[n % 2])
        for n in range(6)
    ]


async def hide(pool, *, series=None, sop=None, revision=1):
    covered = await covered_receptions(pool, "main", STUDY, series, sop)
    amendment = Amendment(
        partition="main",
        study_instance_uid=STUDY,
        revision=revision,
        kind=AMENDMENT_KIND_HIDE,
        principal="tester",
        made_at_us=1_700_000_000_000_000,
        receptions=covered,
    )
    await apply_amendment(pool, amendment, SCOPE)
    return amendment


async def restore(pool, *, undoes, revision):
    await apply_amendment(
        pool,
        Amendment(
            partition="main",
            study_instance_uid=STUDY,
            revision=revision,
            kind=AMENDMENT_KIND_RESTORE,
            undoes=undoes,
        ),
        SCOPE,
    )


async def states(pool):
    rows = await pool.fetch("SELECT sop_uid, state FROM reception ORDER BY order_key")
    return [(row["sop_uid"], row["state"]) for row in rows]


async def test_a_hidden_study_is_gone_and_its_receptions_are_tombstoned(pool, writer):
    await writer.index_chunk(study_records())
    await writer.index_chunk([index_record(order=50, study="1.2", series="1.2.1", sop="8.1")])
    await hide(pool)
    assert await pool.fetch("SELECT 1 FROM study WHERE study_uid = $1", STUDY) == []
    assert await pool.fetch("SELECT 1 FROM instance WHERE sop_uid LIKE '9.%'") == []
    assert {state for sop, state in await states(pool) if sop.startswith("9.")} == {VERDICT_STATE_TOMBSTONED}
    assert len(await pool.fetch("SELECT 1 FROM study WHERE study_uid = '1.2'")) == 1
    assert await is_hidden(pool, "main", STUDY)
    assert not await is_hidden(pool, "main", "1.2")
    assert [difference async for difference in differences(pool)] == []


@pytest.mark.parametrize(
    ("scope", "left"),
    [({"series": "1.1.1"}, ["9.0", "9.2", "9.4"]), ({"sop": "9.0"}, [f"9.{n}" for n in range(1, 6)])],
)
async def test_a_part_of_a_study_goes_and_the_rest_is_recounted(pool, writer, scope, left):
    await writer.index_chunk(study_records())
    await hide(pool, **scope)
    rows = await pool.fetch("SELECT sop_uid FROM instance ORDER BY sop_uid")
    assert [row["sop_uid"] for row in rows] == left
    assert [difference async for difference in differences(pool)] == []


async def test_what_was_hidden_and_restored_is_indexed_again_as_before(pool, writer, index_dsn):
    records = study_records()
    await writer.index_chunk(records)
    before = await shown(index_dsn)
    await hide(pool)
    await restore(pool, undoes=1, revision=2)
    waiting = await waiting_receptions(pool, "main", STUDY)
    assert [reception.object_key for reception in waiting] == [
        record.reception.object_key for record in records
    ]
    assert [r.data_set_digest for r in waiting] == [record.reception.data_set_digest for record in records]
    await writer.index_chunk(records)
    assert await shown(index_dsn) == before
    assert not await is_hidden(pool, "main", STUDY)
    assert await applied_revision(pool, "main", SCOPE) == 2


async def shown(index_dsn):
    state = await index_state(index_dsn)
    return {name: rows for name, rows in state.items() if name not in {"outbox", "amendment"}}


async def test_applying_an_amendment_twice_changes_nothing(pool, writer, index_dsn):
    await writer.index_chunk(study_records())
    amendment = await hide(pool, sop="9.3")
    state = await index_state(index_dsn)
    await apply_amendment(pool, amendment, SCOPE)
    assert await index_state(index_dsn) == state


async def test_a_replayed_reception_stays_hidden_and_a_new_one_is_shown(pool, writer):
    [first] = [index_record(order=1, study=STUDY, series="1.1.1", sop="9.1")]
    await writer.index_chunk([first])
    await hide(pool)
    [again] = await writer.index_chunk([first])
    assert again.state == VERDICT_STATE_TOMBSTONED
    [resent] = await writer.index_chunk([index_record(order=2, study=STUDY, series="1.1.1", sop="9.1")])
    assert resent.state == VERDICT_STATE_INDEXED


async def test_in_an_index_rebuilt_from_nothing_what_was_hidden_stays_so(pool, writer):
    """The amendment comes before the reception, as in a rebuild."""
    records = study_records()
    await apply_amendment(
        pool,
        Amendment(
            partition="main",
            study_instance_uid=STUDY,
            revision=1,
            kind=AMENDMENT_KIND_HIDE,
            receptions=[
                {
                    "object_key": record.reception.object_key,
                    "series_instance_uid": record.reception.series_instance_uid,
                    "sop_instance_uid": record.reception.sop_instance_uid,
                }
                for record in records[:2]
            ],
        ),
        SCOPE,
    )
    verdicts = await writer.index_chunk(records)
    assert [verdict.state for verdict in verdicts] == [VERDICT_STATE_TOMBSTONED] * 2 + [
        VERDICT_STATE_INDEXED
    ] * 4
    again = await writer.index_chunk(records)
    assert again == verdicts
    assert [difference async for difference in differences(pool)] == []


async def test_another_reception_of_the_instance_takes_the_place_of_the_one_hidden(pool, writer):
    first = index_record(order=1, study=STUDY, series="1.1.1", sop="9.1")
    second = index_record(order=2, study=STUDY, series="1.1.1", sop="9.1")
    verdicts = await writer.index_chunk([first, second])
    assert [verdict.state for verdict in verdicts] == [VERDICT_STATE_INDEXED, VERDICT_STATE_DUPLICATE]
    await apply_amendment(
        pool,
        Amendment(
            partition="main",
            study_instance_uid=STUDY,
            revision=1,
            kind=AMENDMENT_KIND_HIDE,
            receptions=[{"object_key": first.reception.object_key}],
        ),
        SCOPE,
    )
    assert await states(pool) == [("9.1", VERDICT_STATE_TOMBSTONED), ("9.1", VERDICT_STATE_PENDING)]
    [waiting] = await waiting_receptions(pool, "main", STUDY)
    assert waiting.object_key == second.reception.object_key
    [verdict] = await writer.index_chunk([second])
    assert verdict.state == VERDICT_STATE_INDEXED


async def test_a_kind_of_a_later_release_is_refused(pool):
    with pytest.raises(CannotProcess):
        await apply_amendment(pool, Amendment(partition="main", study_instance_uid=STUDY, revision=1), SCOPE)
