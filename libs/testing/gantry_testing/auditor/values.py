"""What an auditor is told and what it finds, as values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum


class Answer(Enum):
    """What the sender was told."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    UNANSWERED = "unanswered"


@dataclass(frozen=True, slots=True)
class SentInstance:
    """One thing sent and its answer. Digests are SHA-256 in hexadecimal digits.

    ``file_sha256`` is given when the whole file must come back byte for byte (STOW-RS);
    otherwise the data set alone must. ``told`` is the answer in the protocol's words, for people.
    """

    partition: str
    study_uid: str
    series_uid: str
    sop_uid: str
    data_set_sha256: str
    answer: Answer
    file_sha256: str | None = None
    told: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken invariant: which one, of what, and what was seen instead."""

    rule: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class ManifestLine:
    """One reception as a manifest records it."""

    manifest_key: str
    partition: str
    object_key: str
    order_key: str
    study_uid: str
    sop_uid: str
    data_set_sha256: str
    meta_sha256: str
    meta_length: int
    size: int
    refused: bool
    transfer_syntax_uid: str = ""
    # The sender went away before it was answered: there may be an object, or none.
    unanswered: bool = False
    # Written by the sweeper, which knows nothing of answers: the receiver was gone for a whole lease.
    swept: bool = False


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in the bucket; digests where it was read."""

    key: str
    size: int
    last_modified: datetime


@dataclass(frozen=True, slots=True)
class Content:
    """Digests of bytes: of the data set alone and of the whole."""

    data_set_sha256: str
    file_sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """A row of the index's verdicts."""

    object_key: str
    partition: str
    study_uid: str
    sop_uid: str
    data_set_sha256: str
    state: str
    survivor_key: str | None


@dataclass(frozen=True, slots=True)
class IndexedInstance:
    """An instance that searches find."""

    partition: str
    study_uid: str
    series_uid: str
    sop_uid: str
    object_key: str
    data_set_sha256: str


@dataclass(frozen=True, slots=True)
class Served:
    """What the gateway answered to the retrieval of one instance."""

    status: int
    content: Content | None


Identity = tuple[str, str, str]
"""Partition, Study Instance UID, SOP Instance UID."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was gathered from outside."""

    now: datetime
    lines: tuple[ManifestLine, ...] = ()
    unreadable_records: tuple[str, ...] = ()
    objects: dict[str, StoredObject] = field(default_factory=dict)
    contents: dict[str, Content] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    instances: tuple[IndexedInstance, ...] = ()
    served: dict[Identity, Served] = field(default_factory=dict)
    # Keys of the objects that certificates of destruction name.
    destroyed: frozenset[str] = frozenset()
    miscounts: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """The findings, and how much was looked at."""

    findings: tuple[Finding, ...]
    counts: dict[str, int]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def __str__(self) -> str:
        seen = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        lines = [f"{finding.rule}: {finding.subject}: {finding.detail}" for finding in self.findings]
        return "\n".join([f"audited {seen}: {len(lines)} findings", *lines])


def content_of(data: bytes) -> Content:
    """Return the digests of a Part 10 file."""
    start = data_set_start(data)
    return Content(
        hashlib.sha256(memoryview(data)[start:]).hexdigest(), hashlib.sha256(data).hexdigest(), len(data)
    )


def data_set_start(data: bytes) -> int:
    """Return where the data set begins: after preamble, prefix and group 0002, if they are there.

    The group is walked (it is always Explicit VR Little Endian, PS3.10 7.1), since its length
    element may be missing or wrong.
    """
    position = 132 if data[128:132] == b"DICM" else 0
    while data[position : position + 2] == b"\x02\x00":
        if data[position + 4 : position + 6] in {b"OB", b"UN", b"OW", b"UT"}:
            position += 12 + int.from_bytes(data[position + 8 : position + 12], "little")
        else:
            position += 8 + int.from_bytes(data[position + 6 : position + 8], "little")
    return position
