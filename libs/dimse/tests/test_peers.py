"""Other implementations as peers, both ways: pynetdicom and DCMTK."""

import asyncio
from contextlib import aclosing, contextmanager

import pytest
from gantry_dimse.connecting import open_association
from gantry_dimse.entity import Response
from gantry_dimse.errors import Rejected
from gantry_dimse.facts import EndKind
from gantry_dimse.negotiating import propose
from gantry_dimse.negotiation import VERIFICATION, RoleSelection
from gantry_dimse.scu import c_echo, c_find, c_get, c_move, c_store, n_action, n_event_report
from gantry_dimse.statuses import PENDING, SUCCESS
from gantry_testing.dimse import Outgoing, Peer, Sender, echo
from gantry_testing.upper_layer import CT, EXPLICIT, IMPLICIT, Recorder, listening
from gantry_testing.waiting import wait_for
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pynetdicom import AE, build_role, evt

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
GET = "1.2.840.10008.5.1.4.1.2.2.3"
COMMITMENT = "1.2.840.10008.1.20.1"


def encoded(**elements):
    data_set = Dataset()
    for keyword, value in elements.items():
        setattr(data_set, keyword, value)
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, True
    write_dataset(stream, data_set)
    return stream.getvalue()


def image(uid, size=300_000):
    return encoded(
        SOPClassUID=CT, SOPInstanceUID=uid, StudyInstanceUID="1.2", EncapsulatedDocument=bytes(size)
    )


def the_peer(listener):
    return Peer("127.0.0.1", listener.port)


async def test_pynetdicom_echoes(listener):
    assert await asyncio.to_thread(echo, the_peer(listener)) == 0


async def test_pynetdicom_stores(listener, entity):
    items = [Outgoing(CT, f"1.2.{n}", IMPLICIT, image(f"1.2.{n}")) for n in range(5)]

    def send():
        with Sender(the_peer(listener), [(CT, IMPLICIT)]) as sender:
            return [sender.store(item) for item in items]

    assert await asyncio.to_thread(send) == [0] * 5
    assert entity.stored == [(item.sop_uid, item.data_set) for item in items]
    assert (await entity.next_end()).end.kind is EndKind.RELEASED


async def test_pynetdicom_finds_and_cancels():
    async def find(operation):
        for n in range(1000):
            if operation.cancelled.is_set():
                return Response(0xFE00)
            await operation.pending(encoded(PatientID=str(n)))
            await asyncio.sleep(0.001)
        return Response(SUCCESS)

    def ask(port):
        entity = AE()
        entity.add_requested_context(FIND)
        association = entity.associate("127.0.0.1", port)
        key = Dataset()
        key.QueryRetrieveLevel = "STUDY"
        seen = []
        for status, match in association.send_c_find(key, FIND, msg_id=77):
            seen.append((status.Status, match.PatientID if match else None))
            if len(seen) == 3:
                association.send_c_cancel(77, query_model=FIND)
        association.release()
        return seen

    async with listening(Recorder(C_FIND=find)) as listener:
        seen = await asyncio.to_thread(ask, listener.port)
    assert seen[:3] == [(0xFF00, "0"), (0xFF00, "1"), (0xFF00, "2")]
    assert seen[-1] == (0xFE00, None)
    assert len(seen) < 1000


async def test_pynetdicom_gets_over_its_own_association():
    async def get(operation):
        association = operation.association
        for n in range(3):
            reply = await c_store(
                association,
                sop_class_uid=CT,
                sop_instance_uid=f"1.2.{n}",
                transfer_syntax_uid=IMPLICIT,
                data_set=image(f"1.2.{n}"),
            )
            assert reply.status == 0
            await operation.respond(Response(PENDING, remaining=2 - n, completed=n + 1, failed=0, warning=0))
        return Response(SUCCESS, completed=3, failed=0, warning=0)

    got = []

    def keep(event):
        got.append(event.request.AffectedSOPInstanceUID)
        return 0

    def ask(port):
        entity = AE()
        entity.add_requested_context(GET)
        entity.add_requested_context(CT, IMPLICIT)
        association = entity.associate(
            "127.0.0.1", port, ext_neg=[build_role(CT, scp_role=True)], evt_handlers=[(evt.EVT_C_STORE, keep)]
        )
        key = Dataset()
        key.QueryRetrieveLevel = "STUDY"
        statuses = [(s.Status, s[0x00001021].value) for s, _ in association.send_c_get(key, GET)]
        association.release()
        return statuses

    async with listening(Recorder(C_GET=get)) as listener:
        statuses = await asyncio.to_thread(ask, listener.port)
    assert statuses == [(0xFF00, 1), (0xFF00, 2), (0xFF00, 3), (0, 3)]
    assert got == ["1.2.0", "1.2.1", "1.2.2"]


@contextmanager
def pynetdicom_server(*contexts, handlers=(), **options):
    entity = AE("PEER")
    for name, value in options.items():
        setattr(entity, name, value)
    for uid in contexts:
        entity.add_supported_context(uid, [EXPLICIT, IMPLICIT], scu_role=True, scp_role=True)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=list(handlers))
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()


def associate(port, contexts, **options):
    return open_association(
        "127.0.0.1", port, calling_ae_title="US", called_ae_title="PEER",
        contexts=propose([(uid, [IMPLICIT]) for uid in contexts]), **options,
    )  # fmt: skip


async def test_we_echo_and_store_to_pynetdicom():
    got = []

    def keep(event):
        got.append((event.request.AffectedSOPInstanceUID, event.request.DataSet.getvalue()))
        return 0xB000

    with pynetdicom_server(VERIFICATION, CT, handlers=[(evt.EVT_C_STORE, keep)]) as port:
        async with await associate(port, [VERIFICATION, CT]) as association:
            assert (await c_echo(association)).status == 0
            data = image("1.2.3")
            reply = await c_store(
                association, sop_class_uid=CT, sop_instance_uid="1.2.3",
                transfer_syntax_uid=IMPLICIT, data_set=data,
            )  # fmt: skip
            assert reply.status == 0xB000
        assert association.facts.end.kind is EndKind.RELEASED
    assert got == [("1.2.3", data)]


async def test_we_find_at_pynetdicom_and_cancel_by_leaving():
    cancelled = []

    def find(event):
        wait_for_cancel = event.identifier.PatientID == "CANCEL"
        for n in range(500):
            if n and wait_for_cancel:
                wait_for(lambda: event.is_cancelled, "the cancel")
                cancelled.append(True)
                yield 0xFE00, None
                return
            match = Dataset()
            match.PatientID = str(n)
            yield 0xFF00, match

    with pynetdicom_server(FIND, handlers=[(evt.EVT_C_FIND, find)]) as port:
        async with await associate(port, [FIND]) as association:
            async with aclosing(c_find(association, FIND, encoded(PatientID="CANCEL"))) as replies:
                async for reply in replies:
                    assert reply.data == encoded(PatientID="0")
                    break
            assert cancelled
            answers = [reply async for reply in c_find(association, FIND, encoded(PatientID=""))]
    assert [reply.status for reply in answers] == [0xFF00] * 500 + [0]


async def test_we_move_at_pynetdicom():
    def move(event):
        yield None, None

    with pynetdicom_server(MOVE, handlers=[(evt.EVT_C_MOVE, move)]) as port:
        async with await associate(port, [MOVE]) as association:
            replies = [r async for r in c_move(association, MOVE, encoded(PatientID="1"), "NOWHERE")]
    assert [reply.status for reply in replies] == [0xA801]


async def test_we_get_from_pynetdicom():
    def get(event):
        yield 2
        for n in range(2):
            data_set = Dataset()
            data_set.SOPClassUID, data_set.SOPInstanceUID = CT, f"1.2.{n}"
            data_set.file_meta = Dataset()
            data_set.file_meta.TransferSyntaxUID = IMPLICIT
            yield 0xFF00, data_set

    entity = Recorder()
    with pynetdicom_server(GET, CT, handlers=[(evt.EVT_C_GET, get)]) as port:
        role = RoleSelection(CT, scu=False, scp=True)
        async with await associate(port, [GET, CT], entity=entity, roles=[role]) as association:
            replies = [r async for r in c_get(association, GET, encoded(PatientID="1"))]
    assert replies[-1].status == 0
    assert replies[-1].command.number_of_completed_suboperations == 2
    assert [uid for uid, _ in entity.stored] == ["1.2.0", "1.2.1"]


async def test_commitment_is_asked_for_and_reported_on_one_association():
    reported = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def report(operation):
        assert operation.command.event_type_id == 1
        assert bytes(operation.data) == encoded(TransactionUID="1.2.9")
        reported.set()
        return Response(SUCCESS)

    def act(event):
        def later():
            information = Dataset()
            information.TransactionUID = "1.2.9"
            event.assoc.send_n_event_report(information, 1, COMMITMENT, "1.2.840.10008.1.20.1.1")

        loop.call_soon_threadsafe(loop.run_in_executor, None, later)
        return 0, None

    with pynetdicom_server(COMMITMENT, handlers=[(evt.EVT_N_ACTION, act)]) as port:
        async with await associate(port, [COMMITMENT], entity=Recorder(N_EVENT_REPORT=report)) as association:
            reply = await n_action(
                association, association.context_for(COMMITMENT), sop_class_uid=COMMITMENT,
                sop_instance_uid="1.2.840.10008.1.20.1.1", action_type_id=1,
                information=encoded(TransactionUID="1.2.9"),
            )  # fmt: skip
            assert reply.status == 0
            assert reply.command.action_type_id in (None, 1)
            async with asyncio.timeout(10):
                await reported.wait()


async def test_we_report_to_pynetdicom():
    def report(event):
        assert event.event_type == 2
        return 0, None

    with pynetdicom_server(COMMITMENT, handlers=[(evt.EVT_N_EVENT_REPORT, report)]) as port:
        role = RoleSelection(COMMITMENT, scu=False, scp=True)
        async with await associate(port, [COMMITMENT], roles=[role]) as association:
            reply = await n_event_report(
                association, association.context_for(COMMITMENT), sop_class_uid=COMMITMENT,
                sop_instance_uid="1.2.840.10008.1.20.1.1", event_type_id=2,
                information=encoded(TransactionUID="1.2.9"),
            )  # fmt: skip
            assert reply.status == 0


async def test_a_rejection_of_pynetdicoms_is_told_with_its_reason():
    with pynetdicom_server(VERIFICATION, require_called_aet=True) as port, pytest.raises(Rejected) as raised:
        await open_association(
            "127.0.0.1", port, calling_ae_title="US", called_ae_title="OTHER",
            contexts=propose([(VERIFICATION, [IMPLICIT])]),
        )  # fmt: skip
    assert (raised.value.rejection.source, raised.value.rejection.reason) == (1, 7)
    assert raised.value.facts.end.kind is EndKind.REJECTED
