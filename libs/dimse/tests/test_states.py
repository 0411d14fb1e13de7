"""Every state and event of PS3.8 Table 9-10: which action, what it sends, tells, closes and times."""

import itertools

import pytest
from gantry_dimse.errors import BadPdu, WrongState
from gantry_dimse.limits import Limits
from gantry_dimse.negotiation import (
    CALLED_AE_TITLE_NOT_RECOGNISED,
    PROTOCOL_VERSION_NOT_SUPPORTED,
    Abort,
    AbortReason,
    AssociateAccept,
    AssociateRequest,
    ContextAnswer,
    ProposedContext,
    UserInformation,
)
from gantry_dimse.pdus import (
    PDU_HEAD,
    RELEASE_RP,
    RELEASE_RQ,
    PduType,
    encode_abort,
    encode_accept,
    encode_reject,
    encode_request,
)
from gantry_dimse.states import TRANSITIONS, Action, Event, State
from gantry_dimse.upper_layer import UpperLayer
from pynetdicom.fsm import TRANSITION_TABLE

LIMITS = Limits(artim_seconds=100, closing_seconds=50)
USER = UserInformation(16384)
REQUEST = AssociateRequest("CALLED", "CALLING", (ProposedContext(1, "1.2.3", ("1.2.840.10008.1.2",)),), USER)
ACCEPT = AssociateAccept("CALLED", "CALLING", (ContextAnswer(1, 0),), USER)
P_DATA = PDU_HEAD.pack(PduType.P_DATA_TF, 8) + bytes.fromhex("00000004 01 03 aabb")
PIECE = P_DATA[12:]

RQ, AC, RJ = encode_request(REQUEST), encode_accept(ACCEPT), encode_reject(CALLED_AE_TITLE_NOT_RECOGNISED)
USER_ABORT = encode_abort(Abort(0, 0))


class FakeTransport:
    def __init__(self):
        self.sent = b""
        self.closed = False

    def write(self, data):
        self.sent += data

    def writelines(self, parts):
        self.sent += b"".join(parts)

    def close(self):
        self.closed = True

    abort = close

    def is_closing(self):
        return self.closed

    def get_extra_info(self, name):
        return None

    def set_write_buffer_limits(self, high):
        pass


class FakeUser:
    def __init__(self):
        self.told = []

    def __getattr__(self, name):
        return lambda *arguments, **options: self.told.append(name)


def layer_in(state, *, requestor=True):
    user, transport = FakeUser(), FakeTransport()
    layer = UpperLayer(user, LIMITS, requestor=requestor)
    layer._request = REQUEST
    if state not in (State.IDLE, State.AWAITING_CONNECTION):
        layer.transport = transport
    layer.state = state
    if state in (State.AWAITING_REQUEST, State.AWAITING_CLOSE):
        layer._start_artim(100)
    return layer, user, transport


def receive(data):
    def cause(layer, transport):
        layer.get_buffer(-1)[: len(data)] = data
        layer.buffer_updated(len(data))

    return cause


# How each event comes about.
CAUSES = {
    Event.ASSOCIATE_REQUEST: lambda layer, transport: layer.request(REQUEST),
    Event.CONNECTION_CONFIRMED: lambda layer, transport: layer.connection_made(transport),
    Event.AC_RECEIVED: receive(AC),
    Event.RJ_RECEIVED: receive(RJ),
    Event.CONNECTION_INDICATED: lambda layer, transport: layer.connection_made(transport),
    Event.RQ_RECEIVED: receive(RQ),
    Event.ACCEPT: lambda layer, transport: layer.accept(ACCEPT),
    Event.REJECT: lambda layer, transport: layer.reject(CALLED_AE_TITLE_NOT_RECOGNISED),
    Event.DATA_REQUEST: lambda layer, transport: layer.write([P_DATA]),
    Event.DATA_RECEIVED: receive(P_DATA),
    Event.RELEASE_REQUEST: lambda layer, transport: layer.release(),
    Event.RELEASE_RQ_RECEIVED: receive(RELEASE_RQ),
    Event.RELEASE_RP_RECEIVED: receive(RELEASE_RP),
    Event.RELEASE_RESPONSE: lambda layer, transport: layer.answer_release(),
    Event.ABORT_REQUEST: lambda layer, transport: layer.abort(),
    Event.ABORT_RECEIVED: receive(USER_ABORT),
    Event.CONNECTION_CLOSED: lambda layer, transport: layer.connection_lost(None),
    Event.ARTIM_EXPIRED: lambda layer, transport: layer._expire(),
    Event.BAD_PDU_RECEIVED: receive(bytes.fromhex("0900 00000004 00000000")),
}
LOCAL = {1, 7, 8, 9, 11, 14, 15}


def provider_abort(event):
    unrecognised = event is Event.BAD_PDU_RECEIVED
    return encode_abort(
        Abort(2, AbortReason.UNRECOGNIZED_PDU if unrecognised else AbortReason.UNEXPECTED_PDU)
    )


# What each action sends and tells, the state after it, whether ARTIM runs then, and whether it closes
# the transport (PS3.8 Tables 9-6 to 9-9), said once more; None: as it was.
OUTCOMES = {
    "AE-1": (b"", [], 4, False, False),
    "AE-2": (RQ, ["connected"], 5, False, False),
    "AE-3": (b"", ["associate_confirmed"], 6, False, False),
    "AE-4": (b"", ["associate_confirmed"], 1, False, True),
    "AE-5": (b"", ["connected"], 2, True, False),
    "AE-6": (b"", ["associate_indicated"], 3, False, False),
    "AE-7": (AC, [], 6, False, False),
    "AE-8": (RJ, [], 13, True, False),
    "DT-1": (P_DATA, [], 6, False, False),
    "DT-2": (b"", ["data"], 6, False, False),
    "AR-1": (RELEASE_RQ, [], 7, False, False),
    "AR-2": (b"", ["release_indicated"], 8, False, False),
    "AR-3": (b"", ["release_confirmed"], 1, False, True),
    "AR-4": (RELEASE_RP, [], 13, True, False),
    "AR-5": (b"", ["closed"], 1, False, False),
    "AR-6": (b"", ["data"], 7, False, False),
    "AR-7": (P_DATA, [], 8, False, False),
    "AR-9": (RELEASE_RP, [], 11, False, False),
    "AR-10": (b"", ["release_confirmed"], 12, False, False),
    "AA-1": (USER_ABORT, [], 13, True, False),
    "AA-2": (b"", [], 1, False, True),
    "AA-3": (b"", ["abort_indicated"], 1, False, True),
    "AA-4": (b"", ["abort_indicated", "closed"], 1, False, False),
    "AA-5": (b"", ["closed"], 1, False, False),
    "AA-6": (b"", [], 13, True, False),
    "AA-7": (provider_abort, [], 13, True, False),
    "AA-8": (provider_abort, ["abort_indicated"], 13, True, False),
}
# A connection is made once, and to the side that it is for.
CELLS = [
    (state, event, requestor)
    for state, event, requestor in itertools.product(State, Event, (True, False))
    if event not in (Event.CONNECTION_CONFIRMED, Event.CONNECTION_INDICATED)
    or ((state, event) in TRANSITIONS and requestor == (event is Event.CONNECTION_CONFIRMED))
]


def test_the_table_says_what_another_implementation_reads_in_the_standard():
    theirs = {(state, event): action for (event, state), action in TRANSITION_TABLE.items()}
    ours = {
        (f"Sta{state}", f"Evt{event}"): action.name.replace("_", "-")
        for (state, event), action in TRANSITIONS.items()
    }
    assert ours == theirs


def test_every_action_is_in_the_table():
    assert set(TRANSITIONS.values()) == set(Action)


@pytest.mark.parametrize(
    ("state", "event", "requestor"),
    CELLS,
    ids=[f"Sta{s}-Evt{e}-{'requestor' if r else 'acceptor'}" for s, e, r in CELLS],
)
async def test_a_cell(state, event, requestor):
    action = TRANSITION_TABLE.get((f"Evt{event}", f"Sta{state}"))
    layer, user, transport = layer_in(state, requestor=requestor)
    if action is None:
        if event in LOCAL:
            with pytest.raises(WrongState):
                CAUSES[event](layer, transport)
        else:
            CAUSES[event](layer, transport)
        assert (layer.state, transport.sent, transport.closed) == (state, b"", False)
        assert user.told in ([], ["closed"])
        return
    CAUSES[event](layer, transport)
    outcome = OUTCOMES.get(action) or (b"", ["release_indicated"], 9 if requestor else 10, False, False)
    sent, told, after, artim, closed = outcome
    assert transport.sent == (sent(event) if callable(sent) else sent)
    assert user.told == told
    assert layer.state == after
    assert (layer._artim is not None) == artim
    if state is not State.AWAITING_CONNECTION:
        assert transport.closed == closed


async def test_another_protocol_version_is_rejected_by_the_provider():
    layer, user, transport = layer_in(State.AWAITING_REQUEST, requestor=False)
    spoiled = RQ[:6] + b"\x00\x02" + RQ[8:]
    receive(spoiled)(layer, transport)
    assert transport.sent == encode_reject(PROTOCOL_VERSION_NOT_SUPPORTED)
    assert (layer.state, user.told) == (State.AWAITING_CLOSE, [])


async def test_the_reason_of_an_abort_is_that_of_the_bad_pdu():
    layer, _, transport = layer_in(State.ESTABLISHED)
    receive(bytes.fromhex("0400 ffffffff 00000000"))(layer, transport)
    assert transport.sent == encode_abort(Abort(2, AbortReason.INVALID_PDU_PARAMETER))


async def test_what_the_service_user_cannot_read_aborts_like_a_bad_pdu():
    layer, user, transport = layer_in(State.ESTABLISHED)

    def data(*_, **__):
        raise BadPdu("no such context", AbortReason.UNEXPECTED_PDU_PARAMETER)

    user.data = data
    receive(P_DATA + RELEASE_RQ)(layer, transport)
    assert transport.sent == encode_abort(Abort(2, AbortReason.UNEXPECTED_PDU_PARAMETER))
    assert user.told == ["abort_indicated"], "what follows the bad one is not looked at"
