"""Associations between our own acceptor and requestor."""

import asyncio
import socket
import ssl
from contextlib import aclosing
from dataclasses import replace

import pytest
from gantry_dicom.errors import NotAllowed, OutOfResources
from gantry_dimse.commands import Command, CommandField
from gantry_dimse.entity import Response
from gantry_dimse.errors import Aborted, ContextNotAccepted, NoAnswer, NotConnected, Rejected
from gantry_dimse.facts import EndKind
from gantry_dimse.limits import Limits
from gantry_dimse.negotiation import (
    CALLING_AE_TITLE_NOT_RECOGNISED,
    TEMPORARY_CONGESTION,
    AsyncWindow,
)
from gantry_dimse.scu import c_echo, c_find, c_store
from gantry_dimse.states import State
from gantry_dimse.statuses import CANCELLED, SUCCESS
from gantry_testing.upper_layer import CT, EXPLICIT, Recorder, listening


def store(association, uid="1.2.3", data=b"data"):
    return c_store(
        association, sop_class_uid=CT, sop_instance_uid=uid, transfer_syntax_uid=EXPLICIT, data_set=data
    )


async def test_what_is_sent_arrives_and_the_facts_tell_it(listener, entity):
    data = bytes(range(256)) * 4096
    async with await listener.associate() as association:
        assert (await c_echo(association)).status == SUCCESS
        assert (await store(association, "1.2.3", data)).status == SUCCESS
    assert entity.stored == [("1.2.3", data)]
    facts = await entity.next_end()
    assert (facts.end.kind, facts.end.by_peer) == (EndKind.RELEASED, True)
    assert facts.statuses == association.facts.statuses == {(0x0001, 0): 1, (0x0030, 0): 1}
    assert (facts.calling_ae_title, facts.called_ae_title) == ("TESTER", "GANTRY")
    assert facts.bytes_received == association.facts.bytes_sent > len(data)
    assert [answer.result for answer in facts.accept.contexts] == [0, 0]
    assert association.facts.end == replace(facts.end, by_peer=False)


async def test_a_rejection_has_its_reason_on_both_sides(listener, entity):
    entity.answer = CALLING_AE_TITLE_NOT_RECOGNISED
    with pytest.raises(Rejected) as raised:
        await listener.associate()
    assert raised.value.rejection == CALLING_AE_TITLE_NOT_RECOGNISED
    for facts in (raised.value.facts, await entity.next_end()):
        assert facts.reject == CALLING_AE_TITLE_NOT_RECOGNISED
        assert facts.end.kind is EndKind.REJECTED


async def test_what_was_not_accepted_cannot_be_sent(listener):
    async with await listener.associate() as association:
        with pytest.raises(ContextNotAccepted):
            association.context_for("1.2.3")
        with pytest.raises(ContextNotAccepted):
            association.context_for(CT, "1.2.840.10008.1.2.2")


async def test_as_many_stores_as_were_agreed_are_in_hand_at_a_time():
    running, most = 0, 0
    together = asyncio.Event()

    async def slow(operation):
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            together.set()
        async with asyncio.timeout(10):
            await together.wait()
        running -= 1
        return Response(SUCCESS)

    async with listening(Recorder(Limits(maximum_operations=3), C_STORE=slow)) as listener:
        association = await listener.associate(async_window=AsyncWindow(8, 1))
        async with association:
            assert association.accept.user.async_window == AsyncWindow(invoked=1, performed=3)
            replies = await asyncio.gather(*(store(association, str(n)) for n in range(1, 9)))
    assert [reply.status for reply in replies] == [SUCCESS] * 8
    assert most == 3


async def test_without_a_window_one_is_in_hand():
    running = []

    async def one(operation):
        running.append(True)
        assert len(running) == 1
        await asyncio.sleep(0)
        running.pop()
        return Response(SUCCESS)

    async with listening(Recorder(C_STORE=one)) as listener, await listener.associate() as association:
        replies = await asyncio.gather(*(store(association, str(n)) for n in range(1, 9)))
    assert {reply.status for reply in replies} == {SUCCESS}


async def test_leaving_a_search_cancels_it_and_the_association_goes_on():
    left = asyncio.Event()

    async def find(operation):
        n = 0
        while not operation.cancelled.is_set():
            n += 1
            await operation.pending(str(n).encode())
        left.set()
        return Response(CANCELLED)

    async with listening(Recorder(C_FIND=find)) as listener, await listener.associate() as association:
        async with aclosing(c_find(association, CT, b"query")) as replies:
            async for reply in replies:
                assert reply.data == b"1"
                break
        assert left.is_set()
        assert (await c_echo(association)).status == SUCCESS


async def test_thousands_of_matches_wait_for_a_slow_reader():
    sent = 0

    async def find(operation):
        nonlocal sent
        for n in range(20_000):
            await operation.pending(b"%d" % n + bytes(2000))
            sent = n
        return Response(SUCCESS)

    async with listening(Recorder(C_FIND=find)) as listener, await listener.associate() as association:
        seen = 0
        async for each in c_find(association, CT, b"query"):
            reply = each
            if seen == 10:
                await asyncio.sleep(0.1)
                assert sent < 12_000, "the searcher must not run ahead without bound"
            seen += 1
        assert (seen, reply.status) == (20_001, SUCCESS)


async def test_a_data_set_that_finds_no_room_fails_its_request_and_is_passed_over():
    class Full:
        def write(self, chunk):
            raise OutOfResources("no room")

        def close(self):
            pass

    async def take(operation):
        return Response(SUCCESS, data=bytes(operation.data))

    entity = Recorder(C_STORE=take)
    entity.status_of = lambda command, error: 0xA700 if isinstance(error, OutOfResources) else 0x0124
    async with listening(entity) as listener, await listener.associate() as association:
        entity.open_sink = lambda *_: Full()
        assert (await store(association, data=bytes(1 << 20))).status == 0xA700
        entity.open_sink = refuse
        assert (await store(association, data=bytes(1 << 20))).status == 0x0124
        del entity.open_sink
        reply = await store(association)
        assert (reply.status, reply.data) == (SUCCESS, b"data")


def refuse(*_):
    raise NotAllowed("not for you")


async def test_the_answer_to_a_release_waits_for_what_is_in_hand_and_the_entity():
    order = []

    async def slow(operation):
        await asyncio.sleep(0.05)
        order.append("stored")
        return Response(SUCCESS)

    entity = Recorder(C_STORE=slow)

    async def before_release(association):
        await asyncio.sleep(0.01)
        order.append("settled")

    entity.before_release = before_release
    async with listening(entity) as listener:
        association = await listener.associate()
        asking = asyncio.create_task(store(association))
        await asyncio.sleep(0.01)
        await association.release()
        assert order == ["stored", "settled"]
        assert association.facts.end.kind is EndKind.RELEASED
        assert (await asking).status == SUCCESS


async def test_a_data_set_may_come_in_pieces(listener, entity):
    async def pieces():
        for n in range(3):
            yield bytes([n]) * 300_000
        yield b"end"

    async with await listener.associate() as association:
        assert (await store(association, data=pieces())).status == SUCCESS
        assert (await store(association, "1.2.4", data=empty())).status == SUCCESS
    whole = b"".join(bytes([n]) * 300_000 for n in range(3)) + b"end"
    assert entity.stored == [("1.2.3", whole), ("1.2.4", b"")]


async def empty():
    for nothing in ():
        yield nothing


async def test_a_data_set_that_ends_too_early_aborts_the_association(listener, entity):
    async def pieces():
        yield bytes(300_000)
        raise OutOfResources("the disk is gone")

    association = await listener.associate()
    with pytest.raises(OutOfResources):
        await store(association, data=pieces())
    facts = await entity.next_end()
    assert (facts.end.kind, facts.end.by_peer, entity.stored) == (EndKind.ABORTED, True, [])


async def test_a_caller_that_leaves_in_the_middle_of_a_data_set_aborts_the_association(listener, entity):
    begun = asyncio.Event()

    async def pieces():
        yield bytes(300_000)
        begun.set()
        await asyncio.sleep(100)

    association = await listener.associate()
    asking = asyncio.create_task(store(association, data=pieces()))
    await begun.wait()
    asking.cancel()
    facts = await entity.next_end()
    assert (facts.end.kind, facts.end.by_peer) == (EndKind.ABORTED, True)


async def test_both_may_ask_for_release_at_once(listener, entity):
    association = await listener.associate()
    other = entity.associations[0]
    await asyncio.gather(association.release(), other.release())
    await association.wait_closed()
    assert association.facts.end.kind is other.facts.end.kind is EndKind.RELEASED
    assert other.layer.state in (State.IDLE, State.AWAITING_CLOSE)


async def test_an_abort_ends_what_waits_on_both_sides():
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def endless(operation):
        begun.set()
        try:
            await asyncio.sleep(100)
        finally:
            cancelled.set()

    entity = Recorder(C_FIND=endless)
    async with listening(entity) as listener:
        association = await listener.associate()
        asking = asyncio.create_task(anext(c_find(association, CT, b"")))
        await begun.wait()
        association.abort()
        with pytest.raises(Aborted):
            await asking
        async with asyncio.timeout(10):
            await cancelled.wait()
        end = (await entity.next_end()).end
        assert (end.kind, end.by_peer, end.source) == (EndKind.ABORTED, True, 0)
        with pytest.raises(Aborted):
            await c_echo(association)


async def test_an_instance_that_has_come_whole_is_kept_though_its_sender_hangs_up():
    begun, go, kept = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(operation):
        begun.set()
        await go.wait()
        assert bytes(operation.data) == b"data"
        kept.set()
        return Response(SUCCESS)

    async with listening(Recorder(C_STORE=slow)) as listener:
        association = await listener.associate()
        asking = asyncio.create_task(store(association))
        await begun.wait()
        association.abort()
        go.set()
        async with asyncio.timeout(10):
            await kept.wait()
        with pytest.raises(Aborted):
            await asking


async def test_a_request_without_an_answer_in_time_ends_the_association():
    async def never(operation):
        await asyncio.sleep(100)

    async with listening(Recorder(C_FIND=never)) as listener:
        association = await listener.associate(entity=Recorder(Limits(response_seconds=0.1)))
        with pytest.raises(NoAnswer):
            await anext(c_find(association, CT, b""))
        assert association.facts.end.kind is EndKind.TIMED_OUT


async def test_draining_lets_the_store_in_hand_end_and_begins_no_other():
    begun = asyncio.Event()

    async def slow(operation):
        begun.set()
        await asyncio.sleep(0.1)
        return Response(SUCCESS)

    entity = Recorder(C_STORE=slow)
    async with listening(entity) as listener:
        association = await listener.associate(async_window=AsyncWindow(2, 1))
        asking = asyncio.create_task(store(association))
        await begun.wait()
        await listener.listener.close(5)
        assert (await asking).status == SUCCESS
        assert (await entity.next_end()).end.detail == "the program stops"


async def test_a_hundred_idle_associations_wake_nobody_up(listener, entity):
    associations = [await listener.associate() for _ in range(100)]
    loop = asyncio.get_running_loop()
    # Everything that is to happen by itself is a timer: two for each, once in many seconds.
    timers = [timer for timer in loop._scheduled if not timer.cancelled()]
    assert len(timers) <= 210
    assert min(timer.when() for timer in timers) > loop.time() + 5
    assert sum(len(each.layer._buffer) for each in entity.associations) < 2 << 20
    for association in associations:
        association.abort()


def tls_context(certificates, purpose, own, trusted):
    context = ssl.create_default_context(purpose, cafile=certificates / f"{trusted}.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificates / f"{own}.pem", certificates / f"{own}.key")
    return context


async def test_tls_with_certificates_of_both(certificates):
    entity = Recorder()
    server = tls_context(certificates, ssl.Purpose.CLIENT_AUTH, "server", "client")
    client = tls_context(certificates, ssl.Purpose.SERVER_AUTH, "client", "server")
    async with listening(entity, tls=server) as listener:
        async with await listener.associate(tls=client) as association:
            assert (await store(association, data=bytes(1 << 20))).status == SUCCESS
        facts = await entity.next_end()
    assert facts.tls.version == "TLSv1.3"
    assert facts.tls.peer_certificate == ssl.PEM_cert_to_DER_cert((certificates / "client.pem").read_text())
    assert facts.end.kind is EndKind.RELEASED


async def test_a_failed_handshake_is_told_with_its_reason(certificates):
    entity = Recorder()
    server = tls_context(certificates, ssl.Purpose.CLIENT_AUTH, "server", "client")
    client = tls_context(certificates, ssl.Purpose.SERVER_AUTH, "client", "stranger")
    async with listening(entity, tls=server) as listener:
        with pytest.raises(NotConnected) as raised:
            await listener.associate(tls=client)
        facts = await entity.next_end()
        assert (facts.end.kind, facts.peer_address) == (EndKind.TLS_FAILED, "127.0.0.1")
        assert raised.value.facts.end.detail.startswith("certificate not accepted: self-signed certificate")
        # What is no TLS at all.
        with pytest.raises(Aborted):
            await listener.associate()
        assert (await entity.next_end()).end.kind is EndKind.TLS_FAILED


async def test_a_command_of_ours_gets_a_number_of_its_own(listener):
    async with await listener.associate() as association:
        echo = Command(CommandField.C_ECHO, affected_sop_class_uid="1.2.840.10008.1.1", message_id=5)
        context = association.context_for("1.2.840.10008.1.1")
        numbers = [
            (await association.ask(context, echo)).command.message_id_being_responded_to for _ in "abc"
        ]
    assert numbers == [1, 2, 3]


async def test_a_flood_of_handshakes_that_do_not_end_makes_the_oldest_go(certificates):
    entity = Recorder()
    server = tls_context(certificates, ssl.Purpose.CLIENT_AUTH, "server", "client")
    client = tls_context(certificates, ssl.Purpose.SERVER_AUTH, "client", "server")
    async with listening(entity, tls=server, maximum_unassociated=3) as listener:
        flood = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(10)]
        async with await listener.associate(tls=client) as association:
            assert (await store(association)).status == SUCCESS
        assert (await entity.next_end()).end.kind is EndKind.DISMISSED
        async with asyncio.timeout(10):
            assert await flood[0][0].read() == b""
        for _, writer in flood:
            writer.close()


async def test_a_decision_that_takes_too_long_is_a_rejection_for_now():
    entity = Recorder(Limits(artim_seconds=0.3))

    async def never(association, request):
        await asyncio.sleep(100)

    entity.negotiate = never
    async with listening(entity) as listener:
        with pytest.raises(Rejected) as raised:
            await listener.associate()
    assert raised.value.rejection == TEMPORARY_CONGESTION


async def test_nagles_algorithm_is_off_at_both_ends(listener, entity):
    async with await listener.associate() as association:
        for each in (association, entity.associations[0]):
            raw = each.layer.transport.get_extra_info("socket")
            assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
