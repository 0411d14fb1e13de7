"""The state machine of the upper layer as data (PS3.8 9.2, Tables 9-1 to 9-10)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class State(IntEnum):
    """PS3.8 Tables 9-1 to 9-5."""

    IDLE = 1
    AWAITING_REQUEST = 2
    AWAITING_LOCAL_ANSWER = 3
    AWAITING_CONNECTION = 4
    AWAITING_ANSWER = 5
    ESTABLISHED = 6
    AWAITING_RELEASE_RP = 7
    AWAITING_LOCAL_RELEASE = 8
    COLLISION_REQUESTOR_LOCAL = 9
    COLLISION_ACCEPTOR_RP = 10
    COLLISION_REQUESTOR_RP = 11
    COLLISION_ACCEPTOR_LOCAL = 12
    AWAITING_CLOSE = 13


class Event(IntEnum):
    """PS3.8 Table 9-10, rows: what the local user asks, what arrives, what the transport says."""

    ASSOCIATE_REQUEST = 1
    CONNECTION_CONFIRMED = 2
    AC_RECEIVED = 3
    RJ_RECEIVED = 4
    CONNECTION_INDICATED = 5
    RQ_RECEIVED = 6
    ACCEPT = 7
    REJECT = 8
    DATA_REQUEST = 9
    DATA_RECEIVED = 10
    RELEASE_REQUEST = 11
    RELEASE_RQ_RECEIVED = 12
    RELEASE_RP_RECEIVED = 13
    RELEASE_RESPONSE = 14
    ABORT_REQUEST = 15
    ABORT_RECEIVED = 16
    CONNECTION_CLOSED = 17
    ARTIM_EXPIRED = 18
    BAD_PDU_RECEIVED = 19


class Action(IntEnum):
    """PS3.8 Tables 9-6 to 9-9; what each does is in ``upper_layer``."""

    AE_1 = 1
    AE_2 = 2
    AE_3 = 3
    AE_4 = 4
    AE_5 = 5
    AE_6 = 6
    AE_7 = 7
    AE_8 = 8
    DT_1 = 11
    DT_2 = 12
    AR_1 = 21
    AR_2 = 22
    AR_3 = 23
    AR_4 = 24
    AR_5 = 25
    AR_6 = 26
    AR_7 = 27
    AR_8 = 28
    AR_9 = 29
    AR_10 = 30
    AA_1 = 41
    AA_2 = 42
    AA_3 = 43
    AA_4 = 44
    AA_5 = 45
    AA_6 = 46
    AA_7 = 47
    AA_8 = 48


# A row an event, a column a state from Sta1 to Sta13; "-" is a cell that cannot happen.
_TABLE = """
  1  AE-1  -    -    -    -    -    -    -    -    -     -    -    -
  2  -     -    -    AE-2 -    -    -    -    -    -     -    -    -
  3  -     AA-1 AA-8 -    AE-3 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
  4  -     AA-1 AA-8 -    AE-4 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
  5  AE-5  -    -    -    -    -    -    -    -    -     -    -    -
  6  -     AE-6 AA-8 -    AA-8 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-7
  7  -     -    AE-7 -    -    -    -    -    -    -     -    -    -
  8  -     -    AE-8 -    -    -    -    -    -    -     -    -    -
  9  -     -    -    -    -    DT-1 -    AR-7 -    -     -    -    -
 10  -     AA-1 AA-8 -    AA-8 DT-2 AR-6 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
 11  -     -    -    -    -    AR-1 -    -    -    -     -    -    -
 12  -     AA-1 AA-8 -    AA-8 AR-2 AR-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
 13  -     AA-1 AA-8 -    AA-8 AA-8 AR-3 AA-8 AA-8 AR-10 AR-3 AA-8 AA-6
 14  -     -    -    -    -    -    -    AR-4 AR-9 -     -    AR-4 -
 15  -     -    AA-1 AA-2 AA-1 AA-1 AA-1 AA-1 AA-1 AA-1  AA-1 AA-1 -
 16  -     AA-2 AA-3 -    AA-3 AA-3 AA-3 AA-3 AA-3 AA-3  AA-3 AA-3 AA-2
 17  -     AA-5 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4  AA-4 AA-4 AR-5
 18  -     AA-2 -    -    -    -    -    -    -    -     -    -    AA-2
 19  -     AA-1 AA-8 -    AA-8 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-7
"""


def _read(table: str) -> dict[tuple[State, Event], Action]:
    cells = {}
    for row in table.strip().splitlines():
        number, *actions = row.split()
        for state, action in zip(State, actions, strict=True):
            if action != "-":
                cells[state, Event(int(number))] = Action[action.replace("-", "_")]
    return cells


TRANSITIONS: Mapping[tuple[State, Event], Action] = _read(_TABLE)
