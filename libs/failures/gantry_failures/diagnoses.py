"""What a failed association means, and what to do: a table, of which the first row that fits counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gantry_dimse.commands import CommandField
from gantry_dimse.facts import EndKind
from gantry_dimse.negotiation import AbortSource, ContextResult

from gantry_failures.evidence import Evidence

Test = Callable[[Evidence], bool]

# PS3.6: the root of every UID of the standard; SOP classes with another one are private.
_STANDARD_ROOT = "1.2.840.10008."
_TLS_HANDSHAKE = b"\x16\x03"
_HTTP = (b"GET ", b"POST", b"PUT ", b"HEAD", b"OPTI", b"DELE", b"CONN", b"PRI ")
_SSH = b"SSH-"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """``name`` is for machines and never changes; ``advice`` is one sentence for people."""

    name: str
    fits: Test
    advice: str


def _refused(reason: str) -> Test:
    return lambda evidence: evidence.refusal == reason


def _tls(*words: str) -> Test:
    return lambda evidence: (
        evidence.ended is EndKind.TLS_FAILED and any(word in evidence.detail for word in words)
    )


def _opened(*beginnings: bytes) -> Test:
    return lambda evidence: not evidence.asked and evidence.facts.opening.startswith(beginnings)


def _status(command: CommandField, first: int, last: int | None = None) -> Test:
    return lambda evidence: evidence.answered(command, first, last)


def _rejected(source: int, reason: int) -> Test:
    return lambda evidence: (
        evidence.facts.reject is not None
        and (evidence.facts.reject.source, evidence.facts.reject.reason) == (source, reason)
    )


def _no_context(result: ContextResult, *, private: bool = False) -> Test:
    def fits(evidence: Evidence) -> bool:
        return any(
            not private or not context.abstract_syntax.startswith(_STANDARD_ROOT)
            for context in evidence.refused(result)
        ) and not (evidence.has_accepted_context and evidence.facts.statuses)

    return fits


def _ended(kind: EndKind, *, by_peer: bool | None = None, asked: bool | None = None) -> Test:
    return lambda evidence: (
        evidence.ended is kind and by_peer in (None, evidence.by_peer) and asked in (None, evidence.asked)
    )


def _has_words(*words: str) -> Test:
    return lambda evidence: any(word in evidence.detail for word in words)


def _all(*tests: Test) -> Test:
    return lambda evidence: all(test(evidence) for test in tests)


def _aborted_by_protocol(evidence: Evidence) -> bool:
    end = evidence.facts.end
    return end is not None and not end.by_peer and end.source == AbortSource.SERVICE_PROVIDER


_SILENT: Test = lambda evidence: evidence.facts.bytes_received == 0  # noqa: E731 - a row's test

DIAGNOSES: Sequence[Diagnosis] = (
    # Rejected by our rules.
    Diagnosis(
        "wrong-called-title",
        _refused("called-ae-title"),
        "The device calls an AE title that this archive does not have: set its called AE title, letter by"
        " letter, to the one of the partition it should use.",
    ),
    Diagnosis(
        "wrong-source-address",
        _refused("source-address"),
        "The device calls from an address that its AE title is not registered with: register the address,"
        " or find out who else uses the title.",
    ),
    Diagnosis(
        "wrong-certificate",
        _refused("certificate"),
        "The AE title is bound to a certificate that the device did not show: use the TLS port with that"
        " certificate, or register the new one with `gantry ae add --certificate`.",
    ),
    Diagnosis(
        "no-rights-in-partition",
        _refused("partition"),
        "The AE title is registered, but for another partition than the called AE title stands for: call"
        " the title of its own partition, or register it for this one.",
    ),
    Diagnosis(
        "unknown-calling-title",
        _refused("calling-ae-title"),
        "The device's own AE title is not registered: set it as it is registered, or add it with"
        " `gantry ae add`.",
    ),
    Diagnosis(
        "identity-refused",
        _refused("identity"),
        "The user identity that the device sent was not accepted: renew its token or secret, or switch"
        " user identity off.",
    ),
    Diagnosis(
        "identity-missing",
        _refused("no-identity"),
        "This archive wants a user identity that it can verify, and the device sent none: set a token, or"
        " the name and secret of a client, in the device.",
    ),
    Diagnosis(
        "too-many-of-title",
        _refused("limit-of-title"),
        "The device has as many associations open as it may have: let it release those it does not use,"
        " or raise its limit.",
    ),
    Diagnosis(
        "too-often",
        _refused("rate"),
        "The device asks for associations more often than it may: let it keep one open for several"
        " instances, or raise its rate.",
    ),
    Diagnosis(
        "too-many-associations",
        _refused("limit"),
        "All associations of the listener are taken: look who holds them, raise the limit or add a"
        " listener; the device may try again.",
    ),
    Diagnosis(
        "rules-not-known",
        _refused("no-rules"),
        "The archive does not know its own rules at the moment, so it lets nobody in: look at the service"
        " of logins and at the object store; the device may try again.",
    ),
    # TLS.
    Diagnosis(
        "expired-certificate",
        _tls("expired"),
        "The device's certificate has expired: install a new one in the device (and check its clock).",
    ),
    Diagnosis(
        "certificate-not-yet-valid",
        _tls("not yet valid"),
        "The device's certificate is not valid yet: check the clocks of both sides.",
    ),
    Diagnosis(
        "no-certificate",
        _tls("did not return a certificate", "certificate required"),
        "The device showed no certificate on a port that asks for one: install one that our CA bundle knows.",
    ),
    Diagnosis(
        "untrusted-certificate",
        _tls("certificate not accepted"),
        "The device's certificate is from an issuer that we do not know: put the issuer into the CA bundle"
        " of the TLS port.",
    ),
    Diagnosis(
        "our-certificate-refused",
        _tls("unknown ca", "bad certificate", "certificate unknown", "unsupported certificate"),
        "The device does not trust the archive's certificate: install the CA that signed it in the device.",
    ),
    Diagnosis(
        "http-on-tls-port",
        _tls("http request"),
        "Something spoke plain HTTP on the TLS port of DIMSE: DICOMweb is on another port.",
    ),
    Diagnosis(
        "plaintext-on-tls-port",
        _tls("wrong version number", "packet length", "record layer", "bad record type"),
        "The device speaks without TLS on the TLS port: switch TLS on in the device, or use the plain port.",
    ),
    Diagnosis(
        "tls-version",
        _tls("unsupported protocol", "version too low", "no shared cipher", "protocol version"),
        "The device knows no TLS version or cipher of the BCP 195 profile: update it; TLS 1.2 with"
        " AEAD ciphers is the least.",
    ),
    Diagnosis(
        "tls-broken-off",
        _ended(EndKind.TLS_FAILED),
        "The TLS handshake was not finished: most often the device refuses our certificate, or a probe"
        " came by.",
    ),
    # What is not DICOM.
    Diagnosis(
        "tls-on-plain-port",
        _opened(_TLS_HANDSHAKE),
        "The device speaks TLS on the port without: give it the TLS port, or switch TLS off.",
    ),
    Diagnosis(
        "http-on-dicom-port",
        _opened(*_HTTP),
        "Something spoke HTTP on the DIMSE port: DICOMweb is on another port.",
    ),
    Diagnosis(
        "ssh-on-dicom-port",
        _opened(_SSH),
        "Something spoke SSH on the DIMSE port: most often a scanner of the network.",
    ),
    Diagnosis(
        "port-probe",
        _all(_ended(EndKind.DISMISSED, by_peer=True, asked=False), _SILENT),
        "Something opened the port and left without a word: a health check or a scanner, no device.",
    ),
    Diagnosis(
        "port-probe",
        _all(_ended(EndKind.CONNECTION_LOST, asked=False), _SILENT),
        "Something opened the port and left without a word: a health check or a scanner, no device.",
    ),
    Diagnosis(
        "silent-connection",
        _all(_ended(EndKind.TIMED_OUT, asked=False), _SILENT),
        "Something opened the port and said nothing until its time was up: look for a device that hangs,"
        " or a firewall that holds data back.",
    ),
    Diagnosis(
        "request-not-finished",
        _ended(EndKind.TIMED_OUT, asked=False),
        "The request for an association did not come to its end in time: look for packet loss or a wrong"
        " MTU between the device and us.",
    ),
    Diagnosis(
        "crowded-out",
        _ended(EndKind.DISMISSED, by_peer=False, asked=False),
        "More connections were open without a request than the listener keeps: look who floods the port.",
    ),
    Diagnosis(
        "protocol-version",
        _rejected(2, 2),
        "The device asks for a version of the DICOM upper layer that does not exist: update it.",
    ),
    Diagnosis(
        "application-context",
        _rejected(1, 2),
        "The device asks for an application context that is not DICOM's: update it.",
    ),
    Diagnosis(
        "maximum-length-too-short",
        _has_words("maximum length is too short"),
        "The device announces a maximum PDU length that no message fits into: set it to 16384 or more.",
    ),
    Diagnosis(
        "pdu-too-long",
        _has_words("length of a PDU is out of bounds"),
        "The device sends PDUs longer than the archive says it takes: its maximum PDU length must be no more"
        " than what its peer announces.",
    ),
    Diagnosis(
        "not-dicom",
        _ended(EndKind.ABORTED, asked=False),
        "What came first on the connection was no request for an association: something else than a DICOM"
        " device, or one that is broken.",
    ),
    # Negotiated, and nothing in common.
    Diagnosis(
        "private-sop-class",
        _no_context(ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED, private=True),
        "The device offers a private SOP class that is not accepted here: let it send the standard one, or"
        " allow private classes.",
    ),
    Diagnosis(
        "no-common-abstract-syntax",
        _no_context(ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED),
        "The device wants a service that this archive does not have: look at its SOP classes, beside those"
        " of the conformance statement.",
    ),
    Diagnosis(
        "no-common-transfer-syntax",
        _no_context(ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED),
        "The device offers its SOP classes in private or unknown transfer syntaxes only: switch on Implicit"
        " or Explicit VR Little Endian in the device.",
    ),
    # Statuses.
    Diagnosis(
        "unknown-move-destination",
        _status(CommandField.C_MOVE, 0xA801),
        "The move destination is not registered with host and port: add it with `gantry ae add TITLE"
        " --host HOST --port N`.",
    ),
    Diagnosis(
        "not-authorised",
        lambda evidence: any(status == 0x0124 for _, status in evidence.facts.statuses),
        "The device, or its user, may not do what it asked for: give the AE title the right with"
        " `gantry ae add --may`, or the user a role.",
    ),
    Diagnosis(
        "out-of-resources",
        _status(CommandField.C_STORE, 0xA700, 0xA7FF),
        "The archive could not take instances for want of room or of its object store: look at disks and"
        " store; the device should send them again.",
    ),
    Diagnosis(
        "data-set-mismatch",
        _status(CommandField.C_STORE, 0xA900, 0xA9FF),
        "Instances were not what their request said: the device sends another SOP class or UID than it"
        " announces.",
    ),
    Diagnosis(
        "data-set-not-understood",
        _status(CommandField.C_STORE, 0xC000, 0xCFFF),
        "Instances could not be read as data sets: the device sends damaged data, or another transfer"
        " syntax than was agreed.",
    ),
    Diagnosis(
        "move-failed",
        _status(CommandField.C_MOVE, 0xA702),
        "The move destination did not take the instances: look whether it listens at its registered"
        " address and knows our title.",
    ),
    Diagnosis(
        "commitment-refused",
        lambda evidence: any(
            field == CommandField.N_ACTION and status for field, status in evidence.facts.statuses
        ),
        "A request for storage commitment was malformed, its Transaction UID was used before, or nobody"
        " knows where the device listens: look at its status and the device's registration.",
    ),
    # Broke off.
    Diagnosis(
        "protocol-error",
        _aborted_by_protocol,
        "The device sent what the DICOM protocol does not allow here: update it, and report it to its maker.",
    ),
    Diagnosis(
        "stopped-by-us",
        _all(_ended(EndKind.ABORTED, by_peer=False), _has_words("the program stops")),
        "The listener was stopped or updated while an association was open: the device may connect again.",
    ),
    Diagnosis(
        "idle",
        _all(_ended(EndKind.TIMED_OUT), lambda evidence: evidence.has_accepted_context),
        "Nothing came for longer than an association may be idle, or a PDU stopped half way: let the device"
        " release what it does not use, and look for packet loss.",
    ),
    Diagnosis(
        "aborted-by-device",
        _ended(EndKind.ABORTED, by_peer=True),
        "The device aborted the association: look at its own log for the time; what was acknowledged is"
        " stored.",
    ),
    Diagnosis(
        "connection-lost",
        _ended(EndKind.CONNECTION_LOST),
        "The connection broke without a word, in the middle of the association: look for a device switched"
        " off, or a firewall that forgets connections; what was acknowledged is stored.",
    ),
    Diagnosis(
        "failure-status",
        lambda evidence: evidence.has_failure_status,
        "The device was answered with a failure: look at the statuses of the record.",
    ),
    Diagnosis("other", lambda _: True, "Nothing of what is known fits: look at the record and the logs."),
)

ADVICE = {diagnosis.name: diagnosis.advice for diagnosis in DIAGNOSES}


def diagnose(evidence: Evidence) -> Diagnosis:
    """Return the first diagnosis of the table that fits."""
    return next(diagnosis for diagnosis in DIAGNOSES if diagnosis.fits(evidence))
