"""Why an instance is refused, and how each protocol says so, in one table.

``failure_reason`` goes into Failure Reason (0008,1197) of the STOW-RS answer (PS3.18 I.2.2,
Table I.2-2), ``dimse_status`` into the C-STORE response (PS3.4 B.2.3 Table B.2-1, PS3.7 C).
Codes below C000 are the standard's own; those in Cxxx are ours within "cannot understand".
"""

from __future__ import annotations

from enum import Enum

from gantry_dicom.errors import GantryError, Outcome


class Refusal(Enum):
    """A reason to refuse: (name, Failure Reason, DIMSE status, text for people)."""

    NOT_DICOM = ("not-dicom", 0xC000, 0xC000, "The bytes are neither a DICOM file nor a data set")
    MALFORMED = ("malformed", 0xC001, 0xC001, "The elements of the data set do not add up")
    TRUNCATED = ("truncated", 0xC002, 0xC002, "A length runs past the end: the object is cut off")
    NOT_TERMINATED = (
        "not-terminated",
        0xC003,
        0xC003,
        "A sequence or the encapsulated pixel data has no end",
    )
    NESTED_TOO_DEEPLY = ("nested-too-deeply", 0xC004, 0xC004, "Sequences are nested too deeply")
    DEFLATE_DAMAGED = ("deflate-damaged", 0xC005, 0xC005, "The deflated data set is damaged or cut off")
    INFLATES_TOO_LARGE = (
        "inflates-too-large",
        0xC006,
        0xC006,
        "The deflated data set exceeds the size limit",
    )
    MISSING_UID = ("missing-uid", 0xC007, 0xC007, "An identifying UID is missing or empty")
    ILLEGAL_UID = ("illegal-uid", 0xC008, 0xC008, "An identifying UID is not legal")
    AMBIGUOUS_UID = ("ambiguous-uid", 0xC009, 0xC009, "An identifying UID occurs twice")
    ILLEGAL_SOP_INSTANCE_UID = (
        "illegal-sop-instance-uid",
        0xC008,
        0x0117,
        "The SOP Instance UID is not legal",
    )
    METADATA_MALFORMED = (
        "metadata-malformed",
        0xC00D,
        0xC00D,
        "The metadata are not well formed, or hold what is no value",
    )
    BULK_DATA_NOT_UNDERSTOOD = (
        "bulk-data-not-understood",
        0xC00E,
        0xC00E,
        "The bulk data are not what their media type says, or not divided into frames",
    )
    # A922 is what dcm4chee answers, within "data set does not match SOP class" (PS3.18 I.2.2).
    BULK_DATA_MISSING = ("bulk-data-missing", 0xA922, 0xA922, "Bulk data that the metadata name did not come")
    DICOMDIR = ("dicomdir", 0xC00A, 0xC00A, "A DICOMDIR describes media and is not stored")
    WRONG_TRANSFER_SYNTAX = (
        "wrong-transfer-syntax",
        0xC00B,
        0xC00B,
        "The data set is not in its transfer syntax, and the true one cannot be told",
    )
    SOP_CLASS_MISMATCH = (
        "sop-class-mismatch",
        0xA900,
        0xA900,
        "The data set is not of the SOP class announced",
    )
    SOP_INSTANCE_MISMATCH = (
        "sop-instance-mismatch",
        0xA900,
        0xA900,
        "The data set is not the SOP instance announced",
    )
    # C409 is what dcm4chee answers; PS3.18 I.2.2 allows codes of one's own.
    STUDY_MISMATCH = ("study-mismatch", 0xC409, 0xC409, "The instance is not of the study addressed")
    TRANSFER_SYNTAX_NOT_SUPPORTED = (
        "transfer-syntax-not-supported",
        0xC122,
        0xC122,
        "The transfer syntax is not supported",
    )
    SOP_CLASS_NOT_SUPPORTED = ("sop-class-not-supported", 0x0122, 0x0122, "The SOP class is not supported")
    NOT_ALLOWED = ("not-allowed", 0x0124, 0x0124, "The policy does not allow it")
    OUT_OF_RESOURCES = ("out-of-resources", 0xA700, 0xA700, "Out of resources; try again later")
    TOO_LARGE = ("too-large", 0xA700, 0xA700, "The object is larger than this archive takes")
    PROCESSING_FAILURE = ("processing-failure", 0x0110, 0x0110, "Processing failed")

    def __init__(self, reason: str, failure_reason: int, dimse_status: int, text: str) -> None:
        self.reason = reason
        self.failure_reason = failure_reason
        self.dimse_status = dimse_status
        self.text = text


class Refused(GantryError):
    """The instance is not accepted; ``reason`` says why, ``detail`` adds what was seen."""

    outcome = Outcome.CANNOT_PROCESS

    def __init__(self, reason: Refusal, detail: str = "") -> None:
        super().__init__(f"{reason.text}: {detail}" if detail else reason.text)
        self.reason = reason
