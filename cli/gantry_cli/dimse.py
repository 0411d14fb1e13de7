"""A C-STORE sender (PS3.4 B.2): each instance in the transfer syntax it is in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gantry_dicom.errors import Unavailable
from pynetdicom import AE
from pynetdicom.association import Association

CALLING_AE_TITLE = "GANTRY-DEMO"
MAXIMUM_PDU = 256 << 10


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom to send to."""

    host: str
    port: int
    ae_title: str


@dataclass(frozen=True, slots=True)
class DimseFile:
    """A Part 10 file and what its presentation context needs."""

    file: Path
    sop_class_uid: str
    transfer_syntax_uid: str


@dataclass(slots=True)
class Sender:
    """One association, opened by ``with``. Raises ``Unavailable`` when the peer does not accept it."""

    peer: Peer
    contexts: Iterable[tuple[str, str]]
    _association: Association = field(init=False)

    def __enter__(self) -> Sender:
        entity = AE(ae_title=CALLING_AE_TITLE)
        entity.maximum_pdu_size = MAXIMUM_PDU
        for sop_class_uid, transfer_syntax_uid in sorted(set(self.contexts)):
            entity.add_requested_context(sop_class_uid, transfer_syntax_uid)
        peer = self.peer
        self._association = entity.associate(peer.host, peer.port, ae_title=peer.ae_title)
        if not self._association.is_established:
            raise Unavailable(f"{peer.ae_title} at {peer.host}:{peer.port} does not accept our association")
        return self

    def __exit__(self, *_: object) -> None:
        if self._association.is_established:
            self._association.release()

    def send(self, item: DimseFile) -> int:
        """Send one instance and return its status. Raises ``Unavailable`` when the association ends."""
        try:
            answer = self._association.send_c_store(item.file)
        except (RuntimeError, ValueError) as error:
            raise Unavailable(f"cannot send: {error}") from error
        if "Status" not in answer:
            raise Unavailable("the association ended before the answer")
        return int(answer.Status)
