"""Damage behind the archive's back: found, mended from what there is, and told; on a real index and store."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest
from gantry.reception.v1.reception_pb2 import Source
from gantry_dicom.derive import derive
from gantry_dicom.errors import CannotProcess, Unavailable
from gantry_dicom.frames import FrameTable
from gantry_dicom.gate import admit, header_of
from gantry_index.findings import Found, Wanted, list_findings, open_findings
from gantry_index.pools import Purpose, open_pool
from gantry_index.records import FindingKind, InstanceRecord
from gantry_index.storage_requests import RequestKind, ask_storage, read_request
from gantry_index.verdicts import begin_attempt, quarantine
from gantry_index.writer import IndexWriter
from gantry_objectstore.aside import ASIDE_PREFIX, copies_aside
from gantry_objectstore.keys import journal_key, manifest_key
from gantry_objectstore.records import read_manifest
from gantry_objectstore.store import open_store
from gantry_storage.repairing import Repairer
from gantry_storage.scrubbing import Scrubbing, ScrubLimits
from gantry_storage.serving import Serving
from gantry_storage.spare_copies import SpareCopies
from gantry_storage.watching import Watching
from gantry_testing.builders import identified

STUDY = identified()["StudyInstanceUID"]


@dataclass
class Archive:
    """A store and an index, with the indexer's work done by the test itself."""

    store: object
    sealer: object
    pool: object
    parts: object
    replica: object
    make_front: object

    def __post_init__(self):
        copies = SpareCopies(self.store, self.pool, self.replica)
        self.repairer = Repairer(self.store, self.sealer, self.pool, copies, self.send)
        self.scrubbing = self.scrubbing_of(repair_attempts=3)
        reconciler = self.parts.serving._reconciler
        self.serving = Serving(self.store, self.pool, self.repairer, reconciler, self.scrubbing)
        self.queue_is_up = True

    def scrubbing_of(self, **limits):
        limits = {"every": timedelta(0), "repair_attempts": 0} | limits
        scrub = self.parts.scrubbing._scrub
        return Scrubbing(self.store, scrub, self.pool, self.repairer, ScrubLimits(**limits))

    async def received(self, *numbers, **values):
        """Receive instances and index them; returns their manifest lines."""
        lines = await self.stored(*numbers, **values)
        await self.index(lines)
        return lines

    async def stored(self, *numbers, **values):
        """Receive instances that the index does not know and no journal entry leads to."""
        front = self.make_front()
        lines = await front.store(*numbers, **values)
        await front.receiver.close()
        await self.store.delete(journal_key(lines[0].batch))
        return lines

    async def received_file(self, data):
        front = self.make_front()
        placement = await front.receiver.place(admit(data), data, Source(), partition="main")
        line = await front.receiver.acknowledge(placement)
        await front.receiver.close()
        await self.index([line])
        return line

    async def index(self, lines):
        records = []
        for line in lines:
            header, table = header_of(await self.store.get(line.object_key))
            facts = derive(
                header,
                sop_class_uid=line.sop_class_uid,
                study_instance_uid=line.study_instance_uid,
                series_instance_uid=line.series_instance_uid,
                sop_instance_uid=line.sop_instance_uid,
                transfer_syntax_uid=line.transfer_syntax_uid,
                number_of_frames=FrameTable.unpack(table).count or None,
            )
            records.append(InstanceRecord("main", line, facts, table))
        await IndexWriter(self.pool).index_chunk(records)

    async def send(self, key, first, count):
        """What the indexer's worker does with a chunk of a manifest."""
        if self.queue_is_up:
            manifest = await read_manifest(self.store, key, self.sealer)
            await self.index(manifest.receptions[first : first + count])
        return self.queue_is_up

    async def scrub(self, scrubbing=None):
        """Read everything again; returns kind and key of what is open afterwards."""
        for day in await self.scrubbing.days():
            await (scrubbing or self.scrubbing).read_day(day.partition, day.day, anew=True)
        return await self.open()

    async def look(self):
        """Scrub without mending."""
        return await self.scrub(self.scrubbing_of())

    async def open(self):
        found = await list_findings(self.pool, Wanted("main"), 100)
        return sorted((one.kind, one.object_key) for one in found)

    async def closed(self):
        found = await list_findings(self.pool, Wanted("main", is_open=False), 100)
        return {one.object_key: one for one in found}

    async def ask(self, kind, **arguments):
        number = await ask_storage(self.pool, kind, "main", arguments, "eve")
        await self.serving.turn()
        return await read_request(self.pool, "main", number)


@pytest.fixture
async def archive(store, sealer, parts, make_front, index_dsn, tmp_path):
    pool = open_pool(index_dsn, purpose=Purpose.WRITE)
    replica = open_store((tmp_path / "replica").as_uri())
    yield Archive(store, sealer, pool, parts, replica, make_front)
    await pool.close()
    await replica.close()


def flipped(data, at=-3):
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


DAMAGES = {
    "a flipped bit": flipped,
    "a flipped bit of the File Meta": lambda data: flipped(data, 200),
    "a cut": lambda data: data[:-10],
    "nothing left": lambda data: b"",
    "gone": lambda data: None,
}


async def test_every_damage_is_found_and_mended_from_the_replica_with_the_old_bytes_kept(archive):
    lines = await archive.received(*range(1, len(DAMAGES) + 1))
    whole, damaged = {}, {}
    for line, damage in zip(lines, DAMAGES.values(), strict=True):
        key = line.object_key
        whole[key] = await archive.store.get(key)
        await archive.replica.put(key, whole[key])
        damaged[key] = damage(whole[key])
        if damaged[key] is None:
            await archive.store.delete(key)
        else:
            await archive.store.put(key, damaged[key])
    kinds = {key: "object-missing" if data is None else "object-damaged" for key, data in damaged.items()}
    assert await archive.look() == sorted((kind, key) for key, kind in kinds.items())
    assert await archive.scrub() == []
    for key, finding in (await archive.closed()).items():
        assert await archive.store.get(key) == whole[key]
        assert (finding.closed_by, finding.resolution) == ("scrub", "repaired from the replica")
        aside = finding.evidence["aside"]
        assert (await archive.store.get(aside) if aside else None) == damaged[key]
        assert await copies_aside(archive.store, key) == ([aside] if aside else [])


async def test_without_a_copy_it_stays_open_and_attempts_are_counted_up_to_the_limit(archive):
    [line] = await archive.received(1)
    await archive.store.put(line.object_key, b"ruined")
    await archive.replica.put(line.object_key, b"ruined as well")
    for _ in range(5):
        assert await archive.scrub() == [("object-damaged", line.object_key)]
    [finding] = await list_findings(archive.pool, Wanted("main"), 10)
    assert (finding.attempts, finding.trouble) == (3, "no other copy of these bytes was found")
    assert await archive.store.get(line.object_key) == b"ruined"


async def test_a_second_reception_of_the_same_data_set_mends_the_first(archive):
    [first] = await archive.received(1)
    data = await archive.store.get(first.object_key)
    other_meta = b"ANOTHER PREAMBLE".ljust(128, b"\0") + data[128:]
    await archive.received_file(other_meta)
    await archive.store.put(first.object_key, flipped(data))
    assert await archive.scrub() == []
    assert await archive.store.get(first.object_key) == data
    # Its own File Meta is gone too: the other one's would not be what was received.
    await archive.store.put(first.object_key, flipped(flipped(data), 10))
    assert await archive.scrub() == [("object-damaged", first.object_key)]


async def test_two_objects_in_each_others_place_change_back(archive):
    lines = await archive.received(1, 2, 3)
    a, b = lines[0].object_key, lines[2].object_key
    whole = {key: await archive.store.get(key) for key in (a, b)}
    await archive.store.put(a, whole[b])
    await archive.store.put(b, whole[a])
    assert await archive.look() == sorted([("object-damaged", a), ("object-damaged", b)])
    assert await archive.scrub() == []
    for key, data in whole.items():
        assert await archive.store.get(key) == data


async def test_what_is_lost_or_wrong_in_the_index_is_made_anew_from_the_bucket(archive, database):
    lines = await archive.received(*range(1, 6))
    keys = [line.object_key for line in lines]
    stale = keys[0][:-4] + "0099"
    count = "SELECT instance_count FROM study"
    await database.execute("DELETE FROM instance WHERE object_key = $1", keys[0])
    await database.execute("DELETE FROM reception WHERE object_key = $1", keys[0])
    await database.execute("DELETE FROM instance WHERE object_key = $1", keys[1])
    await database.execute("UPDATE instance SET size = 1 WHERE object_key = $1", keys[2])
    await database.execute("UPDATE reception SET data_set_digest = 'x' WHERE object_key = $1", keys[3])
    await database.execute("UPDATE instance SET object_key = $2 WHERE object_key = $1", keys[4], stale)
    await database.execute("UPDATE reception SET object_key = $2 WHERE object_key = $1", keys[4], stale)
    assert await archive.look() == sorted(
        [
            *[("not-indexed", keys[0]), ("index-differs", keys[1]), ("index-differs", keys[2])],
            *[("index-differs", keys[3]), ("not-indexed", keys[4]), ("index-stale", stale)],
        ]
    )
    await archive.scrub()
    assert await archive.look() == []
    rows = await database.fetch("SELECT object_key FROM instance ORDER BY 1")
    assert [row["object_key"] for row in rows] == keys
    assert await database.fetchval(count) == 5
    await Watching(archive.pool, archive.scrubbing, studies_per_second=0, every_seconds=0).recount()
    assert await archive.open() == []


async def test_wrong_numbers_of_a_study_are_found_and_recounted(archive, database):
    await archive.received(1, 2)
    watching = Watching(archive.pool, archive.scrubbing_of(), studies_per_second=0, every_seconds=3600)
    await database.execute("UPDATE study SET instance_count = 7, modalities = '{XA}'")
    assert await watching.recount() == 1
    [finding] = await list_findings(archive.pool, Wanted("main"), 10)
    assert (finding.kind, finding.evidence["fields"]) == (
        "aggregates-differ",
        ["instance_count", "modalities", "modality_rows"],
    )
    assert await watching.recount() == 0  # not due again
    answer = await archive.ask(RequestKind.REPAIR, finding=finding.id)
    assert (answer.answer, answer.trouble) == ({"resolution": "it was recounted"}, None)
    assert await database.fetchval("SELECT instance_count FROM study") == 2
    assert (await archive.ask(RequestKind.REPAIR, finding=finding.id)).trouble is None
    assert (await archive.ask(RequestKind.REPAIR, finding=999)).trouble == "there is no such finding"


async def test_a_damaged_manifest_is_taken_from_the_replica_only_if_it_is_ours(archive):
    [line] = await archive.received(1)
    key = manifest_key("main", line.batch)
    whole = await archive.store.get(key)
    await archive.store.put(key, flipped(whole))
    await archive.replica.put(key, whole[:-1])
    assert await archive.scrub() == [("bad-manifest", key)]
    await archive.replica.put(key, whole)
    assert await archive.scrub() == []
    assert await archive.store.get(key) == whole


async def test_a_repair_proves_again_and_leaves_whole_objects_alone(archive):
    [line] = await archive.received(1)
    whole = await archive.store.get(line.object_key)
    await archive.store.put(line.object_key, b"ruined")
    await archive.look()
    await archive.store.put(line.object_key, whole)
    await archive.replica.put(line.object_key, whole)
    [finding] = await list_findings(archive.pool, Wanted("main"), 10)
    assert (await archive.repairer.repair(finding, "eve")).resolution == "it was found whole"
    assert [info.key async for info in archive.store.list(ASIDE_PREFIX)] == []
    assert await archive.open() == []


async def test_what_was_deleted_does_not_come_back_out_of_the_replica(archive, database):
    [line] = await archive.received(1)
    await archive.replica.put(line.object_key, await archive.store.get(line.object_key))
    await archive.store.put(line.object_key, b"ruined")
    await archive.look()
    await database.execute(
        "INSERT INTO hidden (object_key, partition, study_uid, series_uid, sop_uid, revision)"
        " VALUES ($1, 'main', '', '', '', 1)",
        line.object_key,
    )
    await archive.store.delete(line.object_key)
    [finding] = await list_findings(archive.pool, Wanted("main"), 10)
    with pytest.raises(CannotProcess):
        await archive.repairer.repair(finding, "eve")
    assert [info.key async for info in archive.store.list("o/")] == []


async def test_what_people_must_decide_is_not_mended(archive):
    unlisted = Found(FindingKind.OBJECT_UNLISTED, "main", object_key="o/x")
    [finding] = await open_findings(archive.pool, [unlisted])
    with pytest.raises(CannotProcess):
        await archive.repairer.repair(finding, "eve")


async def test_a_quarantined_object_is_tried_again_after_a_request_and_after_its_repair(archive, database):
    lines = await archive.stored(1, 2)
    for line in lines:
        for _ in range(3):
            await begin_attempt(archive.pool, "main", line)
        await quarantine(archive.pool, line.object_key, "cannot be indexed")
    answer = await archive.ask(RequestKind.TRY_AGAIN, object=lines[0].object_key)
    assert answer.answer == {"verdict": "indexed", "reason": ""}
    damaged = lines[1].object_key
    await archive.replica.put(damaged, await archive.store.get(damaged))
    await archive.store.put(damaged, b"ruined")
    assert await archive.scrub() == []
    assert await database.fetchval("SELECT count(*) FROM instance") == 2


async def test_a_request_waits_while_the_queue_is_down(archive):
    [line] = await archive.stored(1)
    archive.queue_is_up = False
    waiting = await archive.ask(RequestKind.TRY_AGAIN, object=line.object_key)
    assert (waiting.ended_at, waiting.trouble) == (None, None)
    archive.queue_is_up = True
    await archive.serving.turn()
    assert (await read_request(archive.pool, "main", waiting.id)).answer["verdict"] == "indexed"


async def test_a_scrub_goes_on_where_it_was_and_reads_first_what_was_read_longest_ago(archive, database):
    first = await archive.received(1)
    second = await archive.received(2)
    keys = sorted(manifest_key("main", line.batch) for line in (*first, *second))
    day = keys[0].split("/")[2]
    scrubbing = archive.scrubbing_of()
    examined = []
    examine = scrubbing._scrub.examine

    class Counting:
        async def examine(self, key):
            examined.append(key)
            if len(examined) == 2:
                raise Unavailable("the store went away")
            return await examine(key)

    scrubbing._scrub = Counting()
    with pytest.raises(Unavailable):
        await scrubbing.read_day("main", day)
    await scrubbing.read_day("main", day)
    assert examined == [keys[0], keys[1], keys[1]]
    [row] = await database.fetch("SELECT position, begun_at, checked_at FROM scrub_day")
    assert (row["position"], row["begun_at"]) == ("", None)
    assert row["checked_at"] is not None

    async def always():
        return True

    monthly = archive.scrubbing_of(every=timedelta(days=30))
    assert await monthly.turn(always) == 0  # the day is not over
    archive.store.wait(26 * 3600)
    assert await monthly.turn(always) == 1
    assert await monthly.turn(always) == 0
    archive.store.wait(30 * 86400)
    assert await monthly.turn(always) == 1
    asked = await archive.ask(RequestKind.SCRUB, since=day)
    assert asked.answer == {"days": 1}
    assert await monthly.turn(always) == 1


async def test_a_study_is_reconciled_and_mended_on_request(archive, database):
    lines = await archive.received(*range(1, 5))
    whole = await archive.ask(RequestKind.RECONCILE, study=STUDY)
    assert whole.answer["agrees"] is True
    assert whole.answer["counts"] == {
        "manifestLines": 4,
        "objects": 4,
        "bytes": sum(line.size for line in lines),
        "shown": 4,
        "receptions": {"indexed": 4},
        "notInManifests": 0,
        "notInBucket": 0,
        "notInIndex": 0,
    }
    keys = [line.object_key for line in lines]
    await archive.replica.put(keys[0], await archive.store.get(keys[0]))
    await archive.store.delete(keys[0])
    await database.execute("DELETE FROM instance WHERE object_key = $1", keys[1])
    await database.execute("DELETE FROM reception WHERE object_key = $1", keys[1])
    await archive.store.put(keys[2], flipped(await archive.store.get(keys[2])))
    wrong = (await archive.ask(RequestKind.RECONCILE, study=STUDY)).answer
    assert wrong["agrees"] is False
    assert wrong["keys"] == {"notInManifests": [], "notInBucket": [keys[0]], "notInIndex": [keys[1]]}
    assert wrong["aggregates"]["stored"] == {"series": 1, "instances": 4}
    assert wrong["aggregates"]["counted"] == {"series": 1, "instances": 3}
    assert {one["kind"] for one in wrong["findings"]} == {
        *("object-missing", "not-indexed", "aggregates-differ"),
    }
    deep = (await archive.ask(RequestKind.RECONCILE, study=STUDY, digests=True)).answer
    assert ("object-damaged", keys[2]) in {(one["kind"], one["objectKey"]) for one in deep["findings"]}
    mended = (await archive.ask(RequestKind.RECONCILE, study=STUDY, repair=True)).answer
    assert mended["before"]["keys"] == wrong["keys"]
    assert mended["agrees"] is True
    unknown = await archive.ask(RequestKind.RECONCILE, study="1.2.3")
    assert unknown.trouble == "neither the index nor a manifest that was read knows the study"


async def test_an_instance_that_the_index_lost_with_its_batch_is_found_by_all_manifests(archive, database):
    [line] = await archive.received(1)
    await database.execute("TRUNCATE instance, reception, study, series CASCADE")
    assert (await archive.ask(RequestKind.RECONCILE, study=STUDY)).trouble
    since = (await archive.store.now()).isoformat()
    found = (await archive.ask(RequestKind.RECONCILE, study=STUDY, since=since, repair=True)).answer
    assert found["before"]["keys"]["notInIndex"] == [line.object_key]
    assert found["agrees"] is True
    assert (await archive.ask(RequestKind.RECONCILE, study=STUDY, since="never")).trouble
