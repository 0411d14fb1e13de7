"""Takes the byte stream of a connection apart into PDUs, in bounded memory.

P-DATA-TF is passed on piece by piece as it arrives, straight out of the buffer it was read
into; every other PDU is short, and passed on whole. A length is checked before anything of
the PDU is read, so that one that declares 4 GB costs six bytes.
"""

from __future__ import annotations

import struct
from typing import Protocol

from gantry_dimse.errors import BadPdu
from gantry_dimse.limits import Limits
from gantry_dimse.negotiation import AbortReason
from gantry_dimse.pdus import ASSOCIATE_FIXED_BYTES, PDU_HEAD, PduType

# PS3.8 9.3.5.1: length of what follows, context number; PS3.8 E.2: message control header.
_PDV_HEAD = struct.Struct(">LBB")
_PDV_LENGTH_COUNTS = 2
_P_DATA_TF = int(PduType.P_DATA_TF)

COMMAND = 0x01
LAST = 0x02


class PduSink(Protocol):
    """Where the parts of the stream go."""

    def data_begins(self) -> None:
        """Take note that a P-DATA-TF PDU begins."""
        ...

    def fragment(self, context_id: int, control: int, piece: memoryview, *, ends: bool) -> None:
        """Take a piece of a fragment; ``control`` is its message control header."""
        ...

    def pdu(self, kind: int, body: bytes) -> None:
        """Take a whole PDU other than P-DATA-TF; ``body`` is what follows its head."""
        ...


class PduReader:
    """Reads one connection. After ``BadPdu`` it reads no more."""

    __slots__ = (
        "_context_id",
        "_control",
        "_fragment_left",
        "_kind",
        "_lengths",
        "_needed",
        "_partial",
        "_pdu_left",
        "_sink",
        "pdus",
    )

    def __init__(self, sink: PduSink, limits: Limits) -> None:
        self._sink = sink
        self._lengths = {
            PduType.ASSOCIATE_RQ: (ASSOCIATE_FIXED_BYTES, limits.maximum_request_bytes),
            PduType.ASSOCIATE_AC: (ASSOCIATE_FIXED_BYTES, limits.maximum_request_bytes),
            PduType.ASSOCIATE_RJ: (4, 4),
            PduType.P_DATA_TF: (_PDV_HEAD.size, limits.maximum_pdu_bytes),
            PduType.RELEASE_RQ: (4, 4),
            PduType.RELEASE_RP: (4, 4),
            PduType.ABORT: (4, 4),
        }
        # What is collected until there is `_needed` of it: a head, or the body of a short PDU.
        self._partial = bytearray()
        self._needed = PDU_HEAD.size
        # 0 while the head of a PDU is awaited.
        self._kind = 0
        self._pdu_left = 0
        self._fragment_left = 0
        self._context_id = 0
        self._control = 0
        # PDUs begun; with `mid_pdu` it tells whether one takes too long.
        self.pdus = 0

    @property
    def mid_pdu(self) -> bool:
        """Whether a PDU has begun and not ended."""
        return bool(self._kind or self._partial)

    def feed(self, view: memoryview) -> None:
        """Take what has arrived; ``view`` may be overwritten afterwards. Raises ``BadPdu``."""
        position, end = 0, len(view)
        while position < end:
            if self._fragment_left:
                taken = min(self._fragment_left, end - position)
                self._fragment_left -= taken
                self._pdu_left -= taken
                piece = view[position : position + taken]
                position += taken
                self._sink.fragment(self._context_id, self._control, piece, ends=not self._fragment_left)
                self._end_data()
                continue
            if not self._partial and end - position >= self._needed:
                whole = view[position : position + self._needed]
                position += self._needed
                self._collected(whole)
                continue
            taken = min(self._needed - len(self._partial), end - position)
            self._partial += view[position : position + taken]
            position += taken
            if len(self._partial) == self._needed:
                whole, self._partial = memoryview(self._partial), bytearray()
                self._collected(whole)

    def _collected(self, whole: memoryview) -> None:
        if not self._kind:
            self._begin(whole)
        elif self._kind == _P_DATA_TF:
            self._begin_fragment(whole)
        else:
            kind, self._kind = self._kind, 0
            self._needed = PDU_HEAD.size
            self._sink.pdu(kind, bytes(whole))

    def _begin(self, head: memoryview) -> None:
        kind, length = PDU_HEAD.unpack(head)
        bounds = self._lengths.get(kind)
        if bounds is None:
            raise BadPdu("no PDU has this type", AbortReason.UNRECOGNIZED_PDU)
        if not bounds[0] <= length <= bounds[1]:
            raise BadPdu("the length of a PDU is out of bounds")
        self._kind = kind
        self.pdus += 1
        if kind == _P_DATA_TF:
            self._pdu_left = length
            self._needed = _PDV_HEAD.size
            self._sink.data_begins()
        else:
            self._needed = length

    def _begin_fragment(self, head: memoryview) -> None:
        length, self._context_id, self._control = _PDV_HEAD.unpack(head)
        length -= _PDV_LENGTH_COUNTS
        self._pdu_left -= _PDV_HEAD.size
        if not 0 <= length <= self._pdu_left:
            raise BadPdu("a presentation data value is longer than its PDU, or cut off")
        self._fragment_left = length
        if not length:
            self._sink.fragment(self._context_id, self._control, head[:0], ends=True)
            self._end_data()

    def _end_data(self) -> None:
        if self._fragment_left:
            return
        if not self._pdu_left:
            self._kind = 0
            self._needed = PDU_HEAD.size
        elif self._pdu_left < _PDV_HEAD.size:
            raise BadPdu("a presentation data value is cut off")
