"""A DIMSE sender for tests: C-ECHO, and C-STORE of a data set's own bytes.

pynetdicom's own C-STORE decodes and encodes what it sends; here the bytes go out as they are,
in the transfer syntax named, under whatever command set a test wants to see refused.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from gantry_dicom.errors import Unavailable
from pydicom.uid import UID
from pynetdicom import AE, _config, build_context
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import PresentationContext

VERIFICATION = "1.2.840.10008.1.1"
# PS3.8 9.3.2.2: odd numbers of one byte.
CONTEXTS_PER_ASSOCIATION = 128
SUCCESS = 0x0000
# No status of the standard: the peer did not accept the presentation context.
CONTEXT_NOT_ACCEPTED = -1

# A test sends UIDs that are not legal and wants to read the answer that repeats them.
_config.VALIDATORS["UI"] = lambda _value: (True, "")


class NotAssociated(Unavailable):
    """The peer rejected, aborted or did not answer the association."""


class ContextNotAccepted(Unavailable):
    """The peer did not accept the SOP class in this transfer syntax."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What one C-STORE carries."""

    sop_class_uid: str
    sop_uid: str
    transfer_syntax_uid: str
    data_set: bytes

    @property
    def context(self) -> tuple[str, str]:
        """The presentation context that it needs."""
        return self.sop_class_uid, self.transfer_syntax_uid


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom to call, and as whom."""

    host: str
    port: int
    called_ae_title: str = "GANTRY"
    calling_ae_title: str = "MODALITY"
    # Our own address; empty leaves it to the system.
    source_address: str = ""


class Sender:
    """One association, opened by ``with``. Raises ``NotAssociated``."""

    def __init__(self, peer: Peer, contexts: Iterable[tuple[str, str]], *, timeout: float = 60.0) -> None:
        self.peer = peer
        self._contexts = sorted(set(contexts))
        if len(self._contexts) > CONTEXTS_PER_ASSOCIATION:
            raise ValueError(f"{len(self._contexts)} contexts do not fit into one association")
        self._timeout = timeout
        self._message_id = 0
        self._association: Association | None = None

    def __enter__(self) -> Self:
        entity = AE(self.peer.calling_ae_title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = self._timeout
        entity.requested_contexts = [build_context(*context) for context in self._contexts] or [
            build_context(VERIFICATION)
        ]
        association = entity.associate(
            self.peer.host,
            self.peer.port,
            ae_title=self.peer.called_ae_title,
            max_pdu=256 << 10,
            bind_address=(self.peer.source_address, 0),
        )
        if not association.is_established:
            raise NotAssociated(f"{self.peer.called_ae_title} did not accept the association")
        self._association = association
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._association is not None and self._association.is_established:
            # Its own thread may not have heard yet that the connection is gone (PS3.8 9.2.1, Sta6);
            # nobody would answer the release.
            if kind is None and self._association.dul.state_machine.current_state == "Sta6":
                self._association.release()
            else:
                self._association.abort()

    @property
    def association(self) -> Association:
        """Pynetdicom's association, for what is not offered here."""
        if self._association is None:
            raise NotAssociated("not associated")
        return self._association

    def echo(self) -> int:
        """Return the status of a C-ECHO; needs the verification context. Raises ``NotAssociated``."""
        status = self.association.send_c_echo()
        if "Status" not in status:
            raise NotAssociated("the association ended before the answer")
        return int(status.Status)

    def accepted(self, context: tuple[str, str]) -> PresentationContext | None:
        """Return the accepted presentation context for (SOP class, transfer syntax), if there is one."""
        for accepted in self.association.accepted_contexts:
            if (accepted.abstract_syntax, accepted.transfer_syntax[0]) == context:
                return accepted
        return None

    def store(self, item: Outgoing) -> int:
        """Send ``item`` and return the status.

        Raises ``ContextNotAccepted``, or ``NotAssociated`` when there was no answer: then the
        instance may or may not be there.
        """
        context = self.accepted(item.context)
        if context is None or context.context_id is None:
            raise ContextNotAccepted(f"{item.sop_class_uid} in {item.transfer_syntax_uid}")
        self._message_id = self._message_id % 0xFFFF + 1
        request = C_STORE()
        request.MessageID = self._message_id
        request.Priority = 0x0002
        request.AffectedSOPClassUID = item.sop_class_uid
        # Past pynetdicom's own checks: a test may want to announce what is not legal.
        request._affected_sop_instance_uid = UID(item.sop_uid)  # noqa: SLF001
        request.DataSet = io.BytesIO(item.data_set)
        answer = self._exchange(request, context.context_id)
        if answer is None or answer.Status is None:
            raise NotAssociated("the association ended before the answer")
        return int(answer.Status)

    def _exchange(self, request: C_STORE, context_id: int) -> C_STORE | None:
        # The same steps as pynetdicom's own send_c_store, without its encoding: it has no
        # public way to send bytes.
        association = self.association
        if not association.is_established:
            raise NotAssociated("the association has ended")
        association._reactor_checkpoint.clear()  # noqa: SLF001
        try:
            while not association._is_paused:  # noqa: SLF001
                if not association.is_alive():
                    return None
                time.sleep(0.0001)
            association.dimse.send_msg(request, context_id)
            _, answer = association.dimse.get_msg(block=True)
        finally:
            association._reactor_checkpoint.set()  # noqa: SLF001
        return answer if isinstance(answer, C_STORE) else None


def echo(peer: Peer) -> int:
    """Associate, C-ECHO, release; return the status. Raises ``NotAssociated``."""
    with Sender(peer, [(VERIFICATION, "1.2.840.10008.1.2")]) as sender:
        return sender.echo()


def in_associations(items: Sequence[Outgoing]) -> list[list[Outgoing]]:
    """Return ``items`` in groups whose presentation contexts fit into one association each."""
    groups: list[list[Outgoing]] = []
    contexts: set[tuple[str, str]] = set()
    for item in items:
        if not groups or len(contexts | {item.context}) > CONTEXTS_PER_ASSOCIATION:
            groups.append([])
            contexts = set()
        groups[-1].append(item)
        contexts.add(item.context)
    return groups


def store_all(peer: Peer, items: Sequence[Outgoing]) -> list[int | None]:
    """Send everything, over as few associations as possible; the status of each.

    ``None`` where the association ended without an answer (the rest goes over a new one),
    ``CONTEXT_NOT_ACCEPTED`` where nothing could be sent.
    """
    statuses: list[int | None] = []
    for group in in_associations(items):
        statuses += _store_group(peer, group)
    return statuses


def store_concurrently(peer: Peer, items: Sequence[Outgoing], senders: int) -> list[int | None]:
    """Send everything over ``senders`` associations at a time, dealt out in turn; the status of each."""
    hands = [items[n::senders] for n in range(senders)]
    with ThreadPoolExecutor(senders) as pool:
        answers = list(pool.map(lambda hand: store_all(peer, hand), hands))
    statuses: list[int | None] = [None] * len(items)
    for n, hand in enumerate(answers):
        statuses[n::senders] = hand
    return statuses


def _store_group(peer: Peer, group: Sequence[Outgoing]) -> list[int | None]:
    statuses: list[int | None] = []
    while len(statuses) < len(group):
        rest = group[len(statuses) :]
        try:
            with Sender(peer, [item.context for item in rest]) as sender:
                statuses.extend(_store_one(sender, item) for item in rest)
        except NotAssociated:
            # The one in hand has no answer; the others go over the next association.
            statuses.append(None)
    return statuses


def _store_one(sender: Sender, item: Outgoing) -> int:
    try:
        return sender.store(item)
    except ContextNotAccepted:
        return CONTEXT_NOT_ACCEPTED
