"""What can go wrong with an association."""

from __future__ import annotations

from gantry_dicom.errors import BadRequest, Conflict, NotAcceptable, Unavailable

from gantry_dimse.facts import AssociationFacts
from gantry_dimse.negotiation import AbortReason, AssociateReject


class BadPdu(BadRequest):
    """What a peer sent is no PDU or message of the protocol (PS3.8 9.3, PS3.7 6.3).

    ``reason`` is the reason of the A-ABORT that answers it (PS3.8 Table 9-26).
    """

    def __init__(self, detail: str, reason: AbortReason = AbortReason.INVALID_PDU_PARAMETER) -> None:
        super().__init__(detail)
        self.reason = reason


class WrongState(Conflict):
    """The local user asked for what PS3.8 Table 9-10 does not allow in the association's state."""


class NotAssociated(Unavailable):
    """There is no association with the peer, or there is none any more; ``facts`` say why."""

    def __init__(self, detail: str, facts: AssociationFacts | None = None) -> None:
        super().__init__(detail)
        self.facts = facts


class NotConnected(NotAssociated):
    """The transport connection could not be opened, or its TLS handshake failed."""


class Rejected(NotAssociated):
    """The peer answered A-ASSOCIATE-RJ."""

    def __init__(self, rejection: AssociateReject, facts: AssociationFacts) -> None:
        super().__init__(f"the association was rejected: {rejection.text}", facts)
        self.rejection = rejection


class Aborted(NotAssociated):
    """The association was aborted, or its connection lost, while something was asked of it."""


class NoAnswer(NotAssociated):
    """The peer did not answer in time; the association was aborted."""


class ContextNotAccepted(NotAcceptable):
    """The peer has accepted no presentation context for what is to be sent."""
