"""Peers that break the protocol, stall or go away: bounded, ended for the right reason, nothing left."""

import asyncio
import struct
from dataclasses import replace

import pytest
from gantry_dimse.commands import Command, CommandField, encode_command
from gantry_dimse.connecting import open_association
from gantry_dimse.entity import Response
from gantry_dimse.errors import Aborted, NoAnswer, NotConnected
from gantry_dimse.facts import EndKind
from gantry_dimse.limits import Limits
from gantry_dimse.messages import pdus_of
from gantry_dimse.negotiating import propose
from gantry_dimse.negotiation import VERIFICATION, AssociateRequest, UserInformation
from gantry_dimse.pdus import PDU_HEAD, RELEASE_RP, RELEASE_RQ, encode_request
from gantry_dimse.reader import COMMAND, LAST
from gantry_dimse.scu import c_echo, c_store
from gantry_dimse.statuses import SUCCESS
from gantry_testing.upper_layer import CT, EXPLICIT, Recorder, listening

CONTEXTS = propose([(VERIFICATION, [EXPLICIT]), (CT, [EXPLICIT])])
REQUEST = encode_request(AssociateRequest("GANTRY", "BAD", CONTEXTS, UserInformation(16384)))
STORE = encode_command(
    Command(
        CommandField.C_STORE,
        affected_sop_class_uid=CT,
        message_id=7,
        priority=0,
        command_data_set_type=1,
        affected_sop_instance_uid="1.2.3",
    )
)
ECHO = encode_command(Command(CommandField.C_ECHO, affected_sop_class_uid=VERIFICATION, message_id=1))
# Only what a test waits for is quick: a busy machine must not meet the other time-outs.
QUICK_ARTIM = Limits(artim_seconds=0.2, closing_seconds=0.2)
QUICK_IDLE = Limits(closing_seconds=0.2, idle_seconds=0.4, pdu_seconds=0.4)


def pdus(context_id, data, control, longest=16384):
    return b"".join(pdus_of(context_id, data, control, longest))


class Raw:
    """A peer that is nothing but a connection."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def send(self, *parts):
        self.writer.writelines(parts)
        await self.writer.drain()

    async def pdu(self):
        async with asyncio.timeout(10):
            kind, length = PDU_HEAD.unpack(await self.reader.readexactly(PDU_HEAD.size))
            return kind, await self.reader.readexactly(length)

    async def associate(self):
        await self.send(REQUEST)
        kind, _ = await self.pdu()
        assert kind == 2

    async def rest(self):
        """Return what comes until the other side closes."""
        async with asyncio.timeout(10):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    def close(self):
        self.writer.close()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - bytes in a kernel have no event
            await asyncio.sleep(0.001)


async def raw(listener):
    return Raw(*await asyncio.open_connection("127.0.0.1", listener.port))


ABORT_BY_PROVIDER = 2


async def test_a_bare_connection_is_closed_by_the_artim_timer():
    entity = Recorder(QUICK_ARTIM)
    async with listening(entity) as listener:
        peer = await raw(listener)
        assert await peer.rest() == b""
        facts = await entity.next_end()
    assert (facts.end.kind, facts.request, facts.peer_address) == (EndKind.TIMED_OUT, None, "127.0.0.1")


async def test_a_probe_that_closes_at_once_is_noted(listener, entity):
    (await raw(listener)).close()
    end = (await entity.next_end()).end
    assert (end.kind, end.by_peer) == (EndKind.DISMISSED, True)


async def test_a_request_that_comes_byte_by_byte_is_closed_by_the_artim_timer():
    entity = Recorder(QUICK_ARTIM)
    async with listening(entity) as listener:
        peer = await raw(listener)
        await peer.send(REQUEST[:40])
        assert await peer.rest() == b""
        assert (await entity.next_end()).end.kind is EndKind.TIMED_OUT


async def test_what_is_not_dicom_is_aborted_and_closed():
    entity = Recorder(QUICK_ARTIM)
    async with listening(entity) as listener:
        peer = await raw(listener)
        await peer.send(b"GET / HTTP/1.1\r\n\r\n")
        assert (await peer.rest())[0] == 7
        end = (await entity.next_end()).end
    assert (end.kind, end.detail) == (EndKind.ABORTED, "no PDU has this type")


async def test_a_flood_of_silent_connections_makes_the_oldest_go(entity):
    async with listening(entity, maximum_unassociated=5) as listener:
        flood = [await raw(listener) for _ in range(30)]
        async with await listener.associate() as association:
            assert (await c_echo(association)).status == SUCCESS
        assert await flood[0].rest() == b""
        for peer in flood:
            peer.close()


async def after(listener, entity, *sent):
    """Associate, send; return the A-ABORT's source and reason, and the facts."""
    peer = await raw(listener)
    await peer.associate()
    await peer.send(*sent)
    kind, body = await peer.pdu()
    assert kind == 7
    facts = await entity.next_end()
    assert facts.end.kind is EndKind.ABORTED
    assert not facts.end.by_peer
    peer.close()
    return body[2], body[3], facts


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ([PDU_HEAD.pack(4, 0xFFFFFFFF), bytes(1000)], 6),
        ([PDU_HEAD.pack(9, 4), bytes(4)], 1),
        ([REQUEST], 2),
        ([RELEASE_RP], 2),
        ([pdus(99, ECHO, COMMAND | LAST)], 5),
        ([pdus(3, STORE, COMMAND | LAST), pdus(3, b"data", 0), pdus(1, ECHO, COMMAND | LAST)], 5),
        ([pdus(3, STORE, COMMAND | LAST), pdus(1, b"data", LAST)], 5),
        ([pdus(3, STORE[:20], COMMAND), pdus(1, ECHO, COMMAND | LAST)], 5),
        ([pdus(3, b"data", LAST)], 5),
        ([pdus(3, STORE[:-3], COMMAND | LAST)], 6),
        ([pdus(3, bytes(10), COMMAND | LAST)], 6),
        ([pdus(3, bytes(70_000), COMMAND)], 6),
    ],
    ids=["4 GB PDU", "unknown PDU", "second request", "release answer", "wrong context",
         "command within data", "data of another context", "command within command", "data without command",
         "cut off command", "empty elements", "endless command"],
)  # fmt: skip
async def test_what_breaks_the_protocol_is_aborted_by_the_provider(listener, entity, sent, reason):
    source, told, facts = await after(listener, entity, *sent)
    assert (source, told) == (ABORT_BY_PROVIDER, reason)
    assert (facts.end.source, facts.end.reason) == (source, told)
    assert entity.stored == []


async def test_a_store_without_its_data_set_ends_without_a_trace_when_the_peer_releases(listener, entity):
    peer = await raw(listener)
    await peer.associate()
    await peer.send(pdus(3, STORE, COMMAND | LAST), RELEASE_RQ)
    assert (await peer.pdu())[0] == 6
    peer.close()
    assert (await entity.next_end()).end.kind is EndKind.RELEASED
    assert entity.stored == []


async def test_a_transfer_that_is_broken_off_leaves_nothing():
    closed = []

    class Sink:
        def write(self, chunk):
            pass

        def close(self):
            closed.append(True)

    entity = Recorder()
    entity.open_sink = lambda *_: Sink()
    async with listening(entity) as listener:
        for last in (b"", bytes.fromhex("0700 00000004 00000000")):
            peer = await raw(listener)
            await peer.associate()
            await peer.send(pdus(3, STORE, COMMAND | LAST), pdus(3, bytes(100_000), 0)[:50_000])
            await until(lambda: listener.listener.associations[0].layer.bytes_received > 50_000)
            await peer.send(last)
            peer.close()
            await entity.next_end()
    assert closed == [True, True]
    assert entity.stored == []


async def test_an_idle_association_is_aborted_in_time():
    entity = Recorder(QUICK_IDLE)
    async with listening(entity) as listener:
        peer = await raw(listener)
        await peer.associate()
        assert await peer.pdu() == (7, bytes(4))
        end = (await entity.next_end()).end
        assert (end.kind, end.detail) == (EndKind.TIMED_OUT, "nothing was sent for too long")
        peer.close()


async def test_a_pdu_in_drops_is_aborted_though_something_always_comes():
    entity = Recorder(QUICK_IDLE)
    async with listening(entity) as listener:
        peer = await raw(listener)
        await peer.associate()
        await peer.send(
            pdus(3, STORE, COMMAND | LAST), PDU_HEAD.pack(4, 10_000), struct.pack(">LBB", 9996, 3, 0)
        )

        async def drip():
            while True:
                await peer.send(b"x")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        end = (await entity.next_end()).end
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        assert end.detail == "a PDU took too long to arrive"
        peer.close()


async def test_a_peer_that_does_not_read_is_aborted_and_holds_no_memory():
    async def flood(operation):
        while True:
            await operation.pending(bytes(1 << 20))

    entity = Recorder(QUICK_IDLE, C_FIND=flood)
    async with listening(entity) as listener:
        peer = await raw(listener)
        await peer.associate()
        find = Command(CommandField.C_FIND, affected_sop_class_uid=CT, message_id=1, command_data_set_type=1)
        await peer.send(pdus(3, encode_command(find), COMMAND | LAST), pdus(3, b"", LAST))
        facts = await entity.next_end()
        assert facts.end.detail == "the peer did not take what was sent"
        assert facts.bytes_sent < 32 << 20
        peer.close()


async def test_requests_beyond_the_window_wait_in_the_peers_kernel():
    gate = asyncio.Event()
    running = []

    async def slow(operation):
        running.append(operation.command.message_id)
        await gate.wait()
        return Response(SUCCESS)

    entity = Recorder(C_STORE=slow)
    async with listening(entity) as listener:
        peer = await raw(listener)
        await peer.associate()
        message = pdus(3, STORE, COMMAND | LAST) + pdus(3, bytes(100_000), LAST)
        flood = asyncio.create_task(peer.send(*[message] * 300))
        association = listener.listener.associations
        await until(lambda: running)
        done, _ = await asyncio.wait([flood], timeout=0.3)
        assert not done, "the peer must be held back"
        assert running == [7]
        assert association[0].layer.bytes_received < 1 << 20
        gate.set()
        await flood
        for _ in range(300):
            assert (await peer.pdu())[0] == 4
        assert len(running) == 300
        await peer.send(RELEASE_RQ)
        assert (await peer.pdu())[0] == 6
        peer.close()


async def test_an_unknown_service_is_answered_and_the_association_goes_on(listener):
    async with await listener.associate() as association:
        reply = await association.ask(
            association.context_for(CT), Command(CommandField.N_DELETE, requested_sop_class_uid=CT)
        )
        assert reply.status == 0x0211
        assert (await c_echo(association)).status == SUCCESS


async def test_a_service_that_raises_fails_its_request_only():
    async def broken(operation):
        raise ValueError("what a program does not expect")

    async with listening(Recorder(C_STORE=broken)) as listener, await listener.associate() as association:
        for _ in range(2):
            reply = await c_store(
                association, sop_class_uid=CT, sop_instance_uid="1",
                transfer_syntax_uid=EXPLICIT, data_set=b"",
            )  # fmt: skip
            assert reply.status == 0x0110
        assert (await c_echo(association)).status == SUCCESS


async def serve_raw(behave):
    async def handle(reader, writer):
        try:
            await behave(reader, writer)
        except ConnectionError:
            return
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def ask_raw(behave, limits=None):
    server, port = await serve_raw(behave)
    async with server, listening(Recorder()) as nobody:
        entity = Recorder(limits)
        await replace(nobody, port=port).associate(entity=entity)


async def test_an_acceptor_that_says_nothing_is_left():
    async def silent(reader, writer):
        await reader.read()

    with pytest.raises(NoAnswer) as raised:
        await ask_raw(silent, QUICK_ARTIM)
    assert raised.value.facts.end.kind is EndKind.TIMED_OUT


async def test_an_acceptor_that_answers_nonsense_is_aborted():
    async def nonsense(reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()

    with pytest.raises(Aborted) as raised:
        await ask_raw(nonsense)
    assert raised.value.facts.end.detail == "no PDU has this type"


async def test_an_acceptor_that_hangs_up_is_told():
    async def hang_up(reader, writer):
        await reader.read(10)

    with pytest.raises(Aborted) as raised:
        await ask_raw(hang_up)
    assert raised.value.facts.end.kind is EndKind.CONNECTION_LOST


async def test_nobody_there_is_told():
    server, port = await serve_raw(lambda reader, writer: asyncio.sleep(0))
    server.close()
    await server.wait_closed()
    with pytest.raises(NotConnected) as raised:
        await open_association(
            "127.0.0.1", port, calling_ae_title="A", called_ae_title="B", contexts=CONTEXTS
        )
    assert raised.value.facts.end.kind is EndKind.NOT_CONNECTED
    assert raised.value.detail == "nobody listens at the address"
