"""The values of association negotiation: A-ASSOCIATE, A-ABORT and their parts (PS3.8 9.3, PS3.7 D.3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from gantry_dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

# PS3.7 A.2.1: the only application context there is.
APPLICATION_CONTEXT_NAME = "1.2.840.10008.3.1.1.1"
VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
# PS3.8 9.3.2.2: odd numbers of one byte.
MAXIMUM_CONTEXTS = 128


class ContextResult(IntEnum):
    """What becomes of a proposed presentation context (PS3.8 Table 9-18)."""

    ACCEPTANCE = 0
    USER_REJECTION = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


class RejectResult(IntEnum):
    """PS3.8 Table 9-21, Result."""

    PERMANENT = 1
    TRANSIENT = 2


class AbortSource(IntEnum):
    """PS3.8 Table 9-26, Source."""

    SERVICE_USER = 0
    RESERVED = 1
    SERVICE_PROVIDER = 2


class AbortReason(IntEnum):
    """PS3.8 Table 9-26, Reason/Diag. of the service provider."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    RESERVED = 3
    UNRECOGNIZED_PDU_PARAMETER = 4
    UNEXPECTED_PDU_PARAMETER = 5
    INVALID_PDU_PARAMETER = 6


# PS3.8 Table 9-21: (source, reason) of an A-ASSOCIATE-RJ in words.
REJECTIONS: dict[tuple[int, int], str] = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognised",
    (1, 7): "called AE title not recognised",
    (2, 1): "no reason given by the provider",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """A presentation context as proposed: what may be sent under which number, in which syntaxes."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContextAnswer:
    """The answer to a proposed context; ``transfer_syntax`` counts only with an acceptance."""

    context_id: int
    result: int
    transfer_syntax: str = IMPLICIT_VR_LITTLE_ENDIAN


@dataclass(frozen=True, slots=True)
class PresentationContext:
    """An accepted presentation context."""

    context_id: int
    abstract_syntax: str
    transfer_syntax: str
    # Whether the peer may send requests under it, and whether we may (roles, PS3.7 D.3.3.4).
    peer_is_scu: bool = True
    peer_is_scp: bool = True


@dataclass(frozen=True, slots=True)
class RoleSelection:
    """The requestor's roles for a SOP class (PS3.7 D.3.3.4)."""

    sop_class_uid: str
    scu: bool
    scp: bool


@dataclass(frozen=True, slots=True)
class AsyncWindow:
    """Operations in hand at a time that the sender invokes and performs; 0 is no limit (PS3.7 D.3.3.3)."""

    invoked: int = 1
    performed: int = 1


@dataclass(frozen=True, slots=True)
class ExtendedNegotiation:
    """Service-class application information of a SOP class (PS3.7 D.3.3.5)."""

    sop_class_uid: str
    information: bytes


@dataclass(frozen=True, slots=True)
class CommonExtendedNegotiation:
    """The service class of a SOP class, and the SOP classes it generalises to (PS3.7 D.3.3.6)."""

    sop_class_uid: str
    service_class_uid: str
    related_sop_class_uids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """Who the requestor says its user is (PS3.7 D.3.3.7); never shown, it holds secrets."""

    kind: int
    primary: bytes = field(repr=False)
    secondary: bytes = field(default=b"", repr=False)
    response_requested: bool = False


@dataclass(frozen=True, slots=True)
class UserInformation:
    """The user information item (PS3.7 D.3.3).

    ``maximum_length`` is the longest P-DATA-TF variable field the sender takes, in bytes, 0 for
    any (PS3.8 D.1). ``identity_response`` is of an A-ASSOCIATE-AC only.
    """

    maximum_length: int = 0
    implementation_class_uid: str = IMPLEMENTATION_CLASS_UID
    implementation_version_name: str = IMPLEMENTATION_VERSION_NAME
    async_window: AsyncWindow | None = None
    roles: tuple[RoleSelection, ...] = ()
    extended: tuple[ExtendedNegotiation, ...] = ()
    common_extended: tuple[CommonExtendedNegotiation, ...] = ()
    user_identity: UserIdentity | None = None
    identity_response: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AssociateRequest:
    """An A-ASSOCIATE-RQ; titles without padding."""

    called_ae_title: str
    calling_ae_title: str
    contexts: tuple[ProposedContext, ...]
    user: UserInformation
    application_context_name: str = APPLICATION_CONTEXT_NAME
    protocol_version: int = 1


@dataclass(frozen=True, slots=True)
class AssociateAccept:
    """An A-ASSOCIATE-AC; the titles are the request's."""

    called_ae_title: str
    calling_ae_title: str
    contexts: tuple[ContextAnswer, ...]
    user: UserInformation
    application_context_name: str = APPLICATION_CONTEXT_NAME
    protocol_version: int = 1


@dataclass(frozen=True, slots=True)
class AssociateReject:
    """An A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""

    result: int
    source: int
    reason: int

    @property
    def text(self) -> str:
        """The reason in words."""
        words = REJECTIONS.get((self.source, self.reason), f"source {self.source}, reason {self.reason}")
        return f"{words}, for now" if self.result == RejectResult.TRANSIENT else words


@dataclass(frozen=True, slots=True)
class Abort:
    """An A-ABORT (PS3.8 Table 9-26)."""

    source: int = AbortSource.SERVICE_USER
    reason: int = AbortReason.NOT_SPECIFIED


NO_REASON = AssociateReject(RejectResult.PERMANENT, 1, 1)
APPLICATION_CONTEXT_NOT_SUPPORTED = AssociateReject(RejectResult.PERMANENT, 1, 2)
CALLING_AE_TITLE_NOT_RECOGNISED = AssociateReject(RejectResult.PERMANENT, 1, 3)
CALLED_AE_TITLE_NOT_RECOGNISED = AssociateReject(RejectResult.PERMANENT, 1, 7)
PROTOCOL_VERSION_NOT_SUPPORTED = AssociateReject(RejectResult.PERMANENT, 2, 2)
TEMPORARY_CONGESTION = AssociateReject(RejectResult.TRANSIENT, 3, 1)
LOCAL_LIMIT_EXCEEDED = AssociateReject(RejectResult.TRANSIENT, 3, 2)
