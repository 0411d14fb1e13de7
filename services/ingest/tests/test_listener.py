"""The DIMSE listener from outside: C-ECHO, C-STORE, and connections that would starve others (O-25, O-26)."""

import asyncio
import signal
import socket
import struct
from dataclasses import replace

import pytest
from gantry_dicom.gate import admit
from gantry_dimse.commands import Command, CommandField, encode_command
from gantry_dimse.connecting import open_association
from gantry_dimse.messages import pdus_of
from gantry_dimse.negotiating import propose
from gantry_dimse.negotiation import AsyncWindow
from gantry_dimse.reader import COMMAND, LAST
from gantry_dimse.scu import c_store
from gantry_testing.dimse import NotAssociated, Outgoing, Peer, Sender, echo, store_all, store_concurrently
from gantry_testing.synthetic import generate_study
from gantry_testing.synthetic.encoding import element
from gantry_testing.waiting import wait_for
from pynetdicom import AE, build_context

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"


def outgoing(instance):
    admission = admit(instance.data)
    return Outgoing(
        admission.sop_class_uid,
        admission.sop_instance_uid,
        admission.transfer_syntax_uid,
        instance.data[admission.data_set_offset :],
    )


@pytest.fixture(scope="module")
def items():
    return [outgoing(instance) for instance in generate_study(7, "CT", instances=6)]


def test_an_echo_is_answered(listener):
    assert echo(listener.peer) == 0


def test_a_stored_data_set_is_kept_verbatim_behind_a_true_file_meta_group(listener, items):
    assert store_all(listener.peer, items) == [0] * len(items)
    objects = listener.objects()
    assert len(objects) == len(items)
    kept = {}
    for path in objects:
        data = path.read_bytes()
        admission = admit(data)
        assert admission.meta is None
        kept[admission.sop_instance_uid] = (admission.transfer_syntax_uid, data[admission.data_set_offset :])
    assert kept == {item.sop_uid: (item.transfer_syntax_uid, item.data_set) for item in items}


def test_stores_of_many_associations_are_all_kept(listener):
    many = [outgoing(i) for i in generate_study(8, "CT", series=2, instances=20)]
    assert store_concurrently(listener.peer, many, 8) == [0] * len(many)
    assert len(listener.objects()) == len(many)


def test_the_called_ae_title_decides_the_partition(start_listener, items):
    listener = start_listener(ae_partitions="SECOND=other")
    second = replace(listener.peer, called_ae_title="SECOND")
    assert store_all(second, items[:1]) == [0]
    (path,) = listener.objects()
    assert "/o/other/" in str(path)


def test_an_unknown_called_ae_title_is_rejected(listener):
    with pytest.raises(NotAssociated):
        echo(replace(listener.peer, called_ae_title="NOBODY"))
    wait_for(lambda: 'how="called-ae-title"' in listener.metrics(), "the rejection in the metrics")


@pytest.mark.parametrize(
    ("spoil", "status"),
    [
        (lambda item: replace(item, data_set=item.data_set[:-100]), 0xC002),
        (lambda item: replace(item, data_set=b"this is no data set at all" * 10), 0xC001),
        (lambda item: replace(item, sop_uid="1.2.3.4"), 0xA900),
    ],
    ids=["cut off", "not DICOM", "another SOP Instance UID"],
)
def test_a_refused_data_set_leaves_nothing_and_the_association_open(listener, items, spoil, status):
    with Sender(listener.peer, [items[0].context]) as sender:
        assert sender.store(spoil(items[0])) == status
        assert listener.objects() == []
        assert sender.store(items[1]) == 0
    assert len(listener.objects()) == 1


@pytest.mark.parametrize(
    "sop_class_uid",
    ["1.2.840.10008.5.1.4.1.1.6", "1.2.840.10008.5.1.4.38.1", "2.25.152752519834663263826301420581341174218"],
    ids=["retired", "of no patient", "private"],
)
def test_an_object_is_stored_whatever_its_class(listener, sop_class_uid):
    (instance,) = generate_study(9, "SC")
    retagged = instance.data_set.replace(*_classes(instance.sop_class_uid, sop_class_uid))
    assert store_all(listener.peer, [Outgoing(sop_class_uid, instance.sop_uid, EXPLICIT, retagged)]) == [0]
    (path,) = listener.objects()
    assert admit(path.read_bytes()).sop_class_uid == sop_class_uid


def _classes(old, new):
    return element(0x00080016, "UI", old.encode()), element(0x00080016, "UI", new.encode())


def test_a_uid_that_is_too_long_fails_its_instance_and_leaves_the_association_open(listener, items):
    (instance,) = generate_study(9, "SC")
    long_uid = "1.2." + "3" * 66
    renamed = instance.data_set.replace(
        element(0x00080018, "UI", instance.sop_uid.encode()), element(0x00080018, "UI", long_uid.encode())
    )
    item = Outgoing(instance.sop_class_uid, long_uid, EXPLICIT, renamed)
    with Sender(listener.peer, [item.context, items[0].context]) as sender:
        assert sender.store(item) == 0x0117
        assert listener.objects() == []
        assert sender.store(items[0]) == 0


def test_nothing_is_stored_under_the_closed_policy(start_listener, items):
    listener = start_listener(policy="closed")
    assert store_all(listener.peer, items[:1]) == [0x0124]
    assert listener.objects() == []


def test_a_store_that_cannot_write_answers_out_of_resources(listener, items):
    assert store_all(listener.peer, items[:1]) == [0]
    spoiled = listener.store / "o"
    spoiled.rename(listener.store / "o-away")
    spoiled.write_bytes(b"a file where the folder should be")
    assert store_all(listener.peer, items[1:2]) == [0xA700]
    spoiled.unlink()
    (listener.store / "o-away").rename(spoiled)
    assert store_all(listener.peer, items[1:2]) == [0]


def is_closed_by_peer(connection):
    connection.settimeout(10)
    try:
        while connection.recv(1000):
            pass  # an A-ABORT
        return True
    except ConnectionResetError:  # closed with our bytes unread
        return True
    finally:
        connection.close()


def test_silent_connections_and_half_requests_do_not_keep_a_modality_out(start_listener):
    listener = start_listener(maximum_associations=3, artim_seconds=2)
    silent = [listener.connect() for _ in range(20)]
    half = [listener.connect() for _ in range(20)]
    for connection in half:
        connection.sendall(struct.pack(">BBL", 1, 0, 200) + b"only")
    assert echo(listener.peer) == 0
    for connection in [*silent, *half]:
        assert is_closed_by_peer(connection), "the ARTIM timer must close it"


def test_a_flood_of_silent_connections_dismisses_the_oldest_not_the_modality(start_listener):
    listener = start_listener(maximum_unassociated=10, artim_seconds=60, dimse_workers=1)
    flood = [listener.connect() for _ in range(60)]
    assert echo(listener.peer) == 0
    for connection in flood:
        connection.close()


def test_a_probe_that_connects_and_leaves_uses_nothing(listener):
    for _ in range(50):
        listener.connect().close()
    assert echo(listener.peer) == 0
    wait_for(lambda: 'reason="closed-by-peer"' in listener.metrics(), "the probes in the metrics")


def test_what_is_no_association_request_is_dismissed(listener):
    connection = listener.connect()
    connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert is_closed_by_peer(connection)
    assert echo(listener.peer) == 0


# With one worker, all of them are in its hands.
@pytest.mark.parametrize("workers", [1, 2])
def test_beyond_the_limit_an_association_is_rejected_at_once_and_idle_ones_end(start_listener, workers):
    listener = start_listener(
        maximum_associations=2, reserved_associations=0, idle_seconds=8, dimse_workers=workers
    )
    entity = AE("BUSY")
    entity.add_requested_context("1.2.840.10008.1.1")
    held = [entity.associate(listener.peer.host, listener.peer.port, ae_title="GANTRY") for _ in range(2)]
    extra = entity.associate(listener.peer.host, listener.peer.port, ae_title="GANTRY")
    # Both are there still: it was not told no because it had to wait for one of them to end.
    assert all(association.is_established for association in held)
    assert extra.is_rejected

    def one_more():
        association = entity.associate(listener.peer.host, listener.peer.port, ae_title="GANTRY")
        if association.is_established:
            association.release()
            return True
        return False

    wait_for(one_more, "an idle association to end", 40)


def test_one_title_cannot_take_every_association(start_listener):
    listener = start_listener(maximum_associations_per_title=2)
    busy, other = AE("BUSY"), AE("OTHER")
    held = []
    for entity in (busy, busy, busy, other):
        entity.requested_contexts = [build_context("1.2.840.10008.1.1")]
        held.append(entity.associate(listener.peer.host, listener.peer.port, ae_title="GANTRY"))
    assert [association.is_established for association in held] == [True, True, False, True]
    assert held[2].acceptor.primitive.result_source == 0x03
    for association in held:
        association.abort()


def test_an_instance_that_finds_no_room_in_the_spool_is_refused_and_the_next_is_kept(start_listener, items):
    listener = start_listener(memory_bytes=1 << 20)
    (large,) = generate_study(10, "CT", size=(1024, 1024), instances=1)
    with Sender(listener.peer, [items[0].context]) as sender:
        assert sender.store(outgoing(large)) == 0xA700
        assert sender.store(items[0]) == 0
    assert len(listener.objects()) == 1


async def test_stores_of_one_association_with_a_window_are_in_hand_together(listener, items):
    association = await open_association(
        listener.peer.host,
        listener.peer.port,
        calling_ae_title="MODALITY",
        called_ae_title="GANTRY",
        contexts=propose([(items[0].sop_class_uid, [items[0].transfer_syntax_uid])]),
        async_window=AsyncWindow(4, 1),
    )
    async with association:
        assert association.accept.user.async_window.performed == 4
        replies = await asyncio.gather(
            *(
                c_store(
                    association,
                    sop_class_uid=item.sop_class_uid,
                    sop_instance_uid=item.sop_uid,
                    transfer_syntax_uid=item.transfer_syntax_uid,
                    data_set=item.data_set,
                )
                for item in items
            )
        )
    assert [reply.status for reply in replies] == [0] * len(items)
    assert len(listener.objects()) == len(items)


def test_peers_that_stop_in_the_middle_of_an_instance_are_held_in_bounded_memory(start_listener, items):
    import psutil

    listener = start_listener(memory_bytes=4 << 20, dimse_workers=1)
    (worker,) = psutil.Process(listener.process.pid).children()
    assert store_all(listener.peer, items[:1]) == [0]
    before = worker.memory_info().rss
    stuck = []
    for _ in range(30):
        sender = Sender(listener.peer, [items[0].context]).__enter__()
        connection = sender.association.dul.socket.socket
        connection.sendall(beginning_of_a_store(sender, items[0]))
        stuck.append(sender)
    wait_for(lambda: store_all(listener.peer, items[1:2]) in ([0], [0xA700]), "an answer for somebody else")
    assert worker.memory_info().rss - before < 40 << 20
    for sender in stuck:
        sender.association.abort()
    wait_for(lambda: store_all(listener.peer, items[1:2]) == [0], "the room that the others had")
    assert len(listener.objects()) == 2


def beginning_of_a_store(sender, item, size=1 << 20):
    """Return a C-STORE command and ``size`` bytes of a data set that does not end."""
    context_id = sender.accepted(item.context).context_id
    command = Command(
        CommandField.C_STORE,
        affected_sop_class_uid=item.sop_class_uid,
        message_id=1,
        priority=0,
        command_data_set_type=1,
        affected_sop_instance_uid=item.sop_uid,
    )
    pdus = [*pdus_of(context_id, encode_command(command), COMMAND | LAST, 1 << 16)]
    return b"".join([*pdus, *pdus_of(context_id, bytes(size), 0, 1 << 16)])


def test_a_killed_worker_is_started_again(listener):
    import psutil

    workers = psutil.Process(listener.process.pid).children()
    assert len(workers) == 2
    for worker in workers:
        worker.kill()

    def answers():
        try:
            return echo(Peer("127.0.0.1", listener.peer.port)) == 0
        except NotAssociated:
            return False

    wait_for(answers, "a new worker")


def test_the_workers_of_a_killed_listener_end_and_let_the_port_go(listener, items):
    import psutil

    with Sender(listener.peer, [items[0].context]) as sender:
        assert sender.store(items[0]) == 0
        workers = psutil.Process(listener.process.pid).children()
        listener.process.kill()
        listener.process.wait()

        def can_bind():
            try:
                socket.create_server((listener.peer.host, listener.peer.port)).close()
            except OSError:
                return False
            return True

        # At once, also while an association is being drained: the next listener must be able to begin.
        wait_for(can_bind, "the port", 10)
    wait_for(lambda: not any(worker.is_running() for worker in workers), "the end of the workers", 30)


def test_stopping_drains_writes_the_manifest_and_leaves_no_process(listener, items):
    import psutil

    assert store_all(listener.peer, items) == [0] * len(items)
    workers = psutil.Process(listener.process.pid).children()
    listener.process.send_signal(signal.SIGTERM)
    assert listener.process.wait(20) == 0
    assert not any(worker.is_running() for worker in workers)
    assert any((listener.store / "m").rglob("*"))


def test_many_short_associations_leave_no_threads_behind(listener):
    import psutil

    workers = psutil.Process(listener.process.pid).children()
    echo(listener.peer)
    for _ in range(100):
        echo(listener.peer)
    wait_for(lambda: all(worker.num_threads() < 15 for worker in workers), "threads to end")
