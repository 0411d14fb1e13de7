"""The ack contract, asked from outside, on every store."""

import asyncio
import hashlib

import pytest
from gantry.reception.v1.reception_pb2 import Lane, Manifest, ManifestWriter, Outcome, Reception
from gantry_dicom.errors import Unavailable
from gantry_dicom.gate import header_of
from gantry_dicom.refusals import Refusal
from gantry_objectstore.errors import BadKey
from gantry_objectstore.keys import parse_object_key
from gantry_objectstore.records import write_manifest
from gantry_reception.errors import Undecided

LEASE = 120.0


async def test_a_file_is_stored_as_it_was_received(bench, instances) -> None:
    instance = instances()
    reception = await bench.receive(bench.receiver(), instance)
    assert await bench.store.get(reception.object_key) == instance.buffer
    assert reception.outcome == Outcome.OUTCOME_ACKNOWLEDGED


async def test_a_bare_data_set_gets_a_file_meta_group_before_it(bench, bare_instance) -> None:
    reception = await bench.receive(bench.receiver(), bare_instance)
    stored = await bench.store.get(reception.object_key)
    assert stored == bare_instance.stored
    assert stored.endswith(bare_instance.buffer)
    assert stored[128:132] == b"DICM"


async def test_the_reception_says_what_was_stored(bench, bare_instance) -> None:
    reception = await bench.receive(bench.receiver(), bare_instance, lane=Lane.LANE_BULK)
    stored = await bench.store.get(reception.object_key)
    assert reception.size == len(stored)
    assert reception.data_set_digest == hashlib.sha256(stored[reception.meta_length :]).digest()
    assert reception.meta_digest == hashlib.sha256(stored[: reception.meta_length]).digest()
    assert reception.sop_instance_uid == bare_instance.admission.sop_instance_uid
    assert reception.source == bench.source
    assert reception.lane == Lane.LANE_BULK
    assert reception.store_id == "primary"


async def test_the_same_data_set_has_the_same_identity_whatever_precedes_it(bench, instances) -> None:
    from gantry_dicom.gate import admit_data_set

    file = instances()
    data_set = file.buffer[file.admission.data_set_offset :]
    bare = type(file)(data_set, admit_data_set(data_set, file.admission.transfer_syntax_uid))
    receiver = bench.receiver()
    first, second = await bench.receive(receiver, file), await bench.receive(receiver, bare)
    assert first.data_set_digest == second.data_set_digest


async def test_a_large_object_is_stored_whole(bench, instances) -> None:
    instance = instances(pixels=24_000_000)
    reception = await bench.receive(bench.receiver(), instance)
    assert await bench.store.get(reception.object_key) == instance.buffer
    assert reception.data_set_digest == hashlib.sha256(instance.buffer[reception.meta_length :]).digest()


@pytest.mark.parametrize("held", ["o/", "j/"])
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_nothing_is_acknowledged_before_object_and_journal_entry_are_both_put(
    bench, instances, gate, held, moment
) -> None:
    bench.store.tap = hold = gate(held, moment)
    receiving = asyncio.create_task(bench.receive(bench.receiver(), instances()))
    await hold.reached.wait()
    done, _ = await asyncio.wait([receiving], timeout=0.1)
    assert not done
    assert not bench.publisher.calls
    hold.opened.set()
    assert (await receiving).object_key in bench.store.puts


async def test_journal_entry_and_first_object_are_put_at_the_same_time(
    bench, instances, gate, eventually
) -> None:
    bench.store.tap = hold = gate("j/")
    receiving = asyncio.create_task(bench.receive(bench.receiver(), instances()))
    await eventually(lambda: bench.store.keys("o/"))
    hold.opened.set()
    await receiving


async def test_every_acknowledged_object_is_led_to_at_that_moment(bench, instances) -> None:
    receiver = bench.receiver(batch_instances=16)
    opened_at: dict[str, float] = {}
    made = [instances() for _ in range(120)]

    async def one(instance) -> Reception:
        reception = await bench.receive(receiver, instance)
        elapsed = bench.clock.now - opened_at.setdefault(reception.batch, bench.clock.now)
        assert bench.is_led_to(reception.object_key, elapsed, LEASE)
        return reception

    receptions = await asyncio.gather(*(one(instance) for instance in made))
    for instance, reception in zip(made, receptions, strict=True):
        assert await bench.store.get(reception.object_key) == instance.stored


async def test_concurrent_receptions_of_a_process_share_a_batch(bench, instances) -> None:
    receiver = bench.receiver()
    made = [instances() for _ in range(300)]
    receptions = await asyncio.gather(*(bench.receive(receiver, instance) for instance in made))
    assert len({reception.object_key for reception in receptions}) == 300
    assert len(bench.store.keys("j/")) == 2
    assert {(reception.batch, reception.ordinal) for reception in receptions[:256]} == {
        (receptions[0].batch, ordinal) for ordinal in range(1, 257)
    }
    assert {reception.batch for reception in receptions[256:]} == {receptions[256].batch}
    assert receptions[256].batch > receptions[0].batch


async def test_partitions_never_share_a_batch(bench, instances) -> None:
    receiver = bench.receiver()
    one = await bench.receive(receiver, instances(), partition="one")
    two = await bench.receive(receiver, instances(), partition="two")
    assert one.batch != two.batch
    assert parse_object_key(one.object_key).partition == "one"
    assert {entry.partition for entry in bench.journal()} == {"one", "two"}


async def test_a_name_that_is_no_partition_is_refused_before_anything_is_put(bench, instances) -> None:
    with pytest.raises(BadKey):
        await bench.receive(bench.receiver(), instances(), partition="../other")
    assert not bench.store.puts


async def test_a_full_batch_is_closed_with_a_manifest_of_all_its_lines(
    bench, instances, eventually, outcomes
) -> None:
    receiver = bench.receiver(batch_instances=5)
    receptions = [await bench.receive(receiver, instances()) for _ in range(5)]
    await eventually(lambda: bench.store.keys("m/"))
    (manifest,) = bench.manifests()
    assert list(manifest.receptions) == receptions
    assert outcomes(manifest) == ["acknowledged"] * 5
    assert manifest.writer == ManifestWriter.MANIFEST_WRITER_RECEIVER
    assert (manifest.batch, manifest.partition) == (receptions[0].batch, "main")
    assert await bench.stored_manifests() == [manifest]


async def test_an_old_batch_takes_no_more(bench, instances) -> None:
    receiver = bench.receiver()
    first = await bench.receive(receiver, instances())
    bench.clock.now += 9.9
    second = await bench.receive(receiver, instances())
    bench.clock.now += 0.2
    third = await bench.receive(receiver, instances())
    assert first.batch == second.batch < third.batch


async def test_an_idle_batch_is_closed_by_its_timer(bench, instances, eventually) -> None:
    reception = await bench.receive(bench.receiver(batch_seconds=0.05), instances())
    await eventually(lambda: bench.store.keys("m/"))
    assert [line.object_key for line in bench.manifests()[0].receptions] == [reception.object_key]


@pytest.mark.parametrize("elapsed", [59.9, 60.0, 400.0])
async def test_late_objects_get_a_journal_entry_of_their_own_before_the_ack(
    bench, instances, gate, eventually, elapsed
) -> None:
    receiver = bench.receiver(lease_seconds=LEASE)
    bench.store.tap = hold = gate("o/", "after")
    receiving = asyncio.create_task(bench.receive(receiver, instances()))
    await hold.reached.wait()
    bench.clock.now += elapsed
    hold.opened.set()
    reception = await receiving
    assert bench.is_led_to(reception.object_key, elapsed, LEASE)
    late = [entry for entry in bench.journal() if entry.late_object_keys]
    if elapsed < LEASE / 2:
        assert not late
        return
    assert [list(entry.late_object_keys) for entry in late] == [[reception.object_key]]
    assert late[0].batch != reception.batch
    await eventually(lambda: bench.store.keys("m/"))
    (manifest,) = bench.manifests()
    assert manifest.batch == late[0].batch
    assert list(manifest.receptions) == [reception]


async def test_a_late_object_is_not_acknowledged_when_its_journal_entry_fails(
    bench, instances, gate, fail
) -> None:
    receiver = bench.receiver(lease_seconds=LEASE)
    bench.store.tap = hold = gate("o/", "after")
    receiving = asyncio.create_task(bench.receive(receiver, instances()))
    await hold.reached.wait()
    bench.clock.now += LEASE
    bench.store.tap = fail("j/")
    hold.opened.set()
    with pytest.raises(Unavailable):
        await receiving
    assert not bench.publisher.calls


async def test_a_failure_after_the_manifest_is_neither_success_nor_refusal(
    bench, instances, gate, fail
) -> None:
    """The manifest says unanswered: whoever reads it may index what the store did take."""
    receiver = bench.receiver()
    bench.store.tap = hold = gate("o/", "after")
    receiving = asyncio.create_task(bench.receive(receiver, instances()))
    await hold.reached.wait()
    await receiver.close(0.1)
    bench.store.tap = fail("j/")
    hold.opened.set()
    with pytest.raises(Undecided):
        await receiving
    (manifest,) = bench.manifests()
    assert [line.outcome for line in manifest.receptions] == [Outcome.OUTCOME_UNANSWERED]


async def test_the_lease_begins_before_the_journal_entry_is_put(bench, instances, gate) -> None:
    receiver = bench.receiver(lease_seconds=LEASE)
    bench.store.tap = hold = gate("j/")
    receiving = asyncio.create_task(bench.receive(receiver, instances()))
    await hold.reached.wait()
    bench.clock.now += LEASE / 2
    hold.opened.set()
    reception = await receiving
    assert [entry for entry in bench.journal() if reception.object_key in entry.late_object_keys]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_without_a_journal_entry_nothing_is_acknowledged_and_the_next_opens_another_batch(
    bench, instances, fail, moment
) -> None:
    receiver = bench.receiver()
    bench.store.tap = fail("j/", moment=moment)
    results = await asyncio.gather(
        *(bench.receive(receiver, instances()) for _ in range(5)), return_exceptions=True
    )
    assert [type(result) for result in results] == [Unavailable] * 5
    reception = await bench.receive(receiver, instances())
    assert bench.is_led_to(reception.object_key, 0, LEASE)
    assert reception.ordinal == 1


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_failed_put_is_refused_and_its_ordinal_never_used_again(
    bench, instances, fail, outcomes, moment
) -> None:
    receiver = bench.receiver()
    first = await bench.receive(receiver, instances())
    bench.store.tap = fail("o/", moment=moment)
    with pytest.raises(Unavailable):
        await bench.receive(receiver, instances())
    third = await bench.receive(receiver, instances())
    assert (first.ordinal, third.ordinal) == (1, 3)
    await receiver.close()
    (manifest,) = bench.manifests()
    assert outcomes(manifest) == ["acknowledged", "refused", "acknowledged"]
    assert manifest.receptions[1].refusal == "out-of-resources"
    assert len(bench.publisher.requests) == 2


async def test_a_caller_that_goes_away_leaves_its_instance_unanswered(
    bench, instances, gate, outcomes
) -> None:
    receiver = bench.receiver()
    bench.store.tap = hold = gate("o/")
    receiving = asyncio.create_task(bench.receive(receiver, instances()))
    await hold.reached.wait()
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    hold.opened.set()
    await bench.receive(receiver, instances())
    await receiver.close()
    (manifest,) = bench.manifests()
    assert outcomes(manifest) == ["unanswered", "acknowledged"]
    assert len(bench.publisher.requests) == 1


async def test_a_placed_instance_can_be_refused_and_is_never_published(bench, instances, outcomes) -> None:
    receiver = bench.receiver()
    instance = instances()
    placement = await receiver.place(instance.admission, instance.buffer, bench.source, partition="main")
    await receiver.refuse(placement, Refusal.NOT_ALLOWED)
    abandoned = await receiver.place(instance.admission, instance.buffer, bench.source, partition="main")
    await receiver.abandon(abandoned)
    await receiver.close()
    (manifest,) = bench.manifests()
    assert outcomes(manifest) == ["refused", "unanswered"]
    assert manifest.receptions[0].refusal == "not-allowed"
    assert not bench.publisher.calls


async def test_an_instance_still_on_its_way_at_closing_is_unanswered_and_can_be_acknowledged_late(
    bench, instances, gate, eventually, outcomes
) -> None:
    receiver = bench.receiver()
    done = await bench.receive(receiver, instances())
    bench.store.tap = hold = gate("o/")
    receiving = asyncio.create_task(bench.receive(receiver, instances()))
    await hold.reached.wait()
    await receiver.close(0.05)
    (manifest,) = bench.manifests()
    assert outcomes(manifest) == ["acknowledged", "unanswered"]
    hold.opened.set()
    reception = await receiving
    assert reception.batch == done.batch
    assert [entry for entry in bench.journal() if reception.object_key in entry.late_object_keys]
    await eventually(lambda: len(bench.store.keys("m/")) == 2)
    late = bench.manifests()[1]
    assert list(late.receptions) == [reception]


async def test_a_closed_receiver_takes_nothing(bench, instances) -> None:
    receiver = bench.receiver()
    await receiver.close()
    with pytest.raises(Unavailable):
        await bench.receive(receiver, instances())


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_manifest_that_fails_is_written_again(bench, instances, fail, moment) -> None:
    receiver = bench.receiver(batch_instances=1)
    bench.store.tap = fail("m/", moment=moment, times=3)
    reception = await bench.receive(receiver, instances())
    await receiver.close()
    (manifest,) = await bench.stored_manifests()
    assert list(manifest.receptions) == [reception]
    assert not [entry for entry in bench.journal() if entry.late_object_keys]


async def test_manifests_that_cannot_be_written_are_left_to_the_sweeper_in_bounded_number(
    bench, instances, fail, eventually
) -> None:
    receiver = bench.receiver(batch_instances=1, manifests_waiting=3, manifest_longest_pause=0.05)
    bench.store.tap = fail("m/", times=10_000)
    receptions = [await bench.receive(receiver, instances()) for _ in range(10)]
    bench.store.tap = fail("nothing/")
    await eventually(lambda: len(bench.store.keys("m/")) == 3)
    await receiver.close()
    assert len(bench.store.keys("m/")) == 3
    assert all(bench.is_led_to(reception.object_key, 0, LEASE) for reception in receptions)


async def test_a_manifest_is_given_up_after_its_time(bench, instances, fail, eventually) -> None:
    receiver = bench.receiver(batch_instances=1, manifest_seconds=0.0)
    attempts = []

    async def tap(moment: str, key: str) -> None:
        if moment == "before" and key.startswith("m/"):
            attempts.append(key)
            raise Unavailable("made to fail")

    bench.store.tap = tap
    await bench.receive(receiver, instances())
    await eventually(lambda: attempts)
    await receiver.close()
    assert len(attempts) == 1


async def test_what_a_sweeper_s_manifest_lacks_is_journalled_again(
    bench, instances, gate, eventually
) -> None:
    receiver = bench.receiver(batch_instances=2)
    bench.store.tap = hold = gate("m/")
    first = await bench.receive(receiver, instances())
    second = await bench.receive(receiver, instances())
    await hold.reached.wait()
    swept = Manifest(batch=first.batch, partition="main", receptions=[Reception(object_key=first.object_key)])
    await write_manifest(bench.store.real, swept, bench.sealer)
    hold.opened.set()
    await eventually(lambda: bench.store.keys("m/"))
    (entry,) = [entry for entry in bench.journal() if entry.late_object_keys]
    assert list(entry.late_object_keys) == [second.object_key]
    manifests = {manifest.batch: manifest for manifest in await bench.stored_manifests()}
    assert manifests[first.batch] == swept
    assert list(manifests[entry.batch].receptions) == [second]


async def test_a_sweeper_s_manifest_that_has_everything_is_left_alone(
    bench, instances, gate, eventually
) -> None:
    receiver = bench.receiver(batch_instances=1)
    bench.store.tap = hold = gate("m/")
    reception = await bench.receive(receiver, instances())
    await hold.reached.wait()
    swept = Manifest(batch=reception.batch, partition="main", receptions=[reception])
    await write_manifest(bench.store.real, swept, bench.sealer)
    hold.opened.set()
    await receiver.close()
    assert not [entry for entry in bench.journal() if entry.late_object_keys]
    assert await bench.stored_manifests() == [swept]


async def test_every_key_under_the_objects_is_in_a_manifest_whatever_happened(
    bench, instances, outcomes
) -> None:
    receiver = bench.receiver(batch_instances=16)
    count = [0]

    async def tap(moment: str, key: str) -> None:
        count[0] += 1
        if key[0] != "m" and count[0] % 7 == 0:
            raise Unavailable("made to fail")

    bench.store.tap = tap
    tasks = [asyncio.create_task(bench.receive(receiver, instances())) for _ in range(100)]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks[::9]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    await receiver.close()
    acknowledged = {result.object_key for result in results if isinstance(result, Reception)}
    assert acknowledged
    lines = {line.object_key: line for manifest in bench.manifests() for line in manifest.receptions}
    assert acknowledged == {
        key for key, line in lines.items() if line.outcome == Outcome.OUTCOME_ACKNOWLEDGED
    }
    assert {info.key async for info in bench.store.list("o/")} <= set(lines)
    assert {request.reception.object_key for request in bench.publisher.requests} == acknowledged


async def test_the_indexer_is_told_with_the_header(bench, instances, eventually) -> None:
    instance = instances()
    reception = await bench.receive(bench.receiver(), instance, reply_to="verdicts:1")
    await eventually(lambda: bench.publisher.calls)
    (request,) = bench.publisher.requests
    assert request.partition == "main"
    assert request.reception == reception
    assert request.reply_to == "verdicts:1"
    header, frame_table = header_of(instance.stored)
    assert request.header.before_pixel_data == header.before_pixel_data
    assert request.header.pixel_layout.frame_table == frame_table


async def test_a_large_header_does_not_travel(bench, instances, eventually) -> None:
    await bench.receive(bench.receiver(), instances(comment="x" * 9000))
    await bench.receive(bench.receiver(header_bytes=8000), instances(comment="x" * 9000))
    await eventually(lambda: len(bench.publisher.requests) == 2)
    assert [request.HasField("header") for request in bench.publisher.requests] == [True, False]


async def test_the_trace_of_the_request_goes_on(bench, instances, eventually) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await bench.receive(bench.receiver(), instances(), traceparent=traceparent)
    await eventually(lambda: bench.publisher.calls)
    assert bench.publisher.requests[0].traceparent.split("-")[1] == traceparent.split("-")[1]


async def test_a_publisher_that_hangs_delays_no_acknowledgement(bench, instances, eventually) -> None:
    bench.publisher.hold = asyncio.Event()
    receiver = bench.receiver(publish_seconds=0.2)
    async with asyncio.timeout(5):
        for _ in range(20):
            await bench.receive(receiver, instances())
    bench.publisher.hold.set()
    await bench.receive(receiver, instances())
    await eventually(lambda: bench.publisher.calls)


async def test_what_waits_for_the_publisher_goes_together(bench, instances, eventually) -> None:
    bench.publisher.hold = asyncio.Event()
    receiver = bench.receiver(publish_seconds=30)
    for _ in range(10):
        await bench.receive(receiver, instances())
    bench.publisher.hold.set()
    await eventually(lambda: len(bench.publisher.requests) == 10)
    assert [len(requests) for _, requests in bench.publisher.calls] == [1, 9]


async def test_what_comes_within_the_interval_goes_together_and_the_first_at_once(
    bench, instances, eventually
) -> None:
    receiver = bench.receiver(publish_interval=60)
    for _ in range(10):
        await bench.receive(receiver, instances())
    await eventually(lambda: bench.publisher.calls)
    assert [len(requests) for _, requests in bench.publisher.calls] == [1]
    receiver.hurry()
    await eventually(lambda: len(bench.publisher.requests) == 10)
    await bench.receive(receiver, instances())
    await receiver.close()
    assert [len(requests) for _, requests in bench.publisher.calls] == [1, 9, 1]


async def test_what_waits_for_the_publisher_is_bounded(bench, instances, eventually) -> None:
    bench.publisher.hold = asyncio.Event()
    receiver = bench.receiver(publish_seconds=30, publish_waiting=5)
    for _ in range(20):
        await bench.receive(receiver, instances())
    bench.publisher.hold.set()
    await receiver.close()
    assert len(bench.publisher.requests) == 6


async def test_a_publisher_that_breaks_its_promise_harms_nobody(bench, instances, eventually) -> None:
    receiver = bench.receiver()
    bench.publisher.error = RuntimeError("broken")
    await bench.receive(receiver, instances())
    bench.publisher.error = None
    await bench.receive(receiver, instances())
    await eventually(lambda: bench.publisher.calls)
