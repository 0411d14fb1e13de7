"""What an archive must do with each file of the shared pack, read from its manifest.

The manifest's ``cls`` and ``expect`` were written before the archive. Where they leave a choice,
the case says ``EITHER``: then the archive must be consistent, whatever it chose.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from gantry_dicom.refusals import Refusal
from gantry_dicom.uids import assigned_uid

from gantry_testing.datapack import DataFile

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_UID_LENGTH = 64

_NO_OBJECT = (Refusal.NOT_DICOM, Refusal.MALFORMED, Refusal.TRUNCATED)
_CUT = (Refusal.TRUNCATED, Refusal.NOT_TERMINATED, Refusal.MALFORMED)
_DEFLATE = (Refusal.DEFLATE_DAMAGED,)
_NO_UID = (Refusal.MISSING_UID,)

# Why each file that must be refused is refused; more than one reason where several are true.
REASONS: dict[str, tuple[Refusal, ...]] = {
    "made/broken/deflate_garbage.dcm": _DEFLATE,
    "made/broken/deflate_truncated.dcm": _DEFLATE,
    "made/broken/deflate_bomb.dcm": (Refusal.INFLATES_TOO_LARGE,),
    "made/broken/element_length_65535.dcm": _CUT,
    "made/broken/empty.dcm": _NO_OBJECT,
    "made/broken/garbage.dcm": _NO_OBJECT,
    "made/broken/garbage_after_dicm.dcm": _NO_OBJECT,
    "made/broken/no_sop_class_uid.dcm": _NO_UID,
    "made/broken/no_sop_instance_uid.dcm": _NO_UID,
    "made/broken/only_preamble.dcm": _NO_OBJECT,
    "made/broken/pixel_length_2gb.dcm": _CUT,
    "made/broken/png.dcm": _NO_OBJECT,
    "made/broken/sq_never_closed.dcm": _CUT,
    "made/broken/text.dcm": _NO_OBJECT,
    "made/broken/truncated_header.dcm": _CUT,
    "made/broken/truncated_in_meta.dcm": _NO_OBJECT,
    "pydicom-data/emri_small_jpeg_2k_lossless_too_short.dcm": _CUT,
    "pydicom/no_meta.dcm": _NO_OBJECT,
    "pydicom/rtplan_truncated.dcm": _CUT,
}


class Must(Enum):
    """What the archive must do."""

    STORE = "store"
    REFUSE = "refuse"
    EITHER = "either"


@dataclass(frozen=True, slots=True)
class Case:
    """A file and what must come of it; no ``reasons`` means that any reason is right.

    ``number`` tells files apart that claim to be the same instance: those of one number
    can lie in one partition.
    """

    file: DataFile
    must: Must
    reasons: tuple[Refusal, ...]
    number: int

    @property
    def entry_uids(self) -> tuple[str, str, str]:
        """Study, series and SOP Instance UID as the manifest gives them, or as the archive assigns them.

        Empty where the file has none and none can be assigned.
        """
        entry = self.file.entry
        study, series, sop = (entry.get(name) or "" for name in ("study_uid", "series_uid", "sop_uid"))
        if sop:
            study = study or assigned_uid("Study Instance UID", sop)
            series = series or assigned_uid("Series Instance UID", sop)
        return study, series, sop


def cases(files: Iterable[DataFile]) -> list[Case]:
    """Return the case of every file, in the same order."""
    seen: dict[str, int] = defaultdict(int)
    found = []
    for file in files:
        must, reasons = _expectation(file)
        sop_uid = file.entry.get("sop_uid") or file.name
        found.append(Case(file, must, reasons, seen[sop_uid]))
        seen[sop_uid] += 1
    return found


def identified(file: DataFile) -> bool:
    """Tell whether the file has what every instance must have: a SOP class and a SOP Instance UID.

    Study and series may be missing (the archive then assigns UIDs), but must not be illegal.
    """
    entry = file.entry
    needed = all(_legal(entry.get(name) or "") for name in ("sop_class", "sop_uid"))
    return needed and all(_legal(uid) for name in ("study_uid", "series_uid") if (uid := entry.get(name)))


def _legal(uid: str) -> bool:
    # PS3.5 9.1: at most 64 characters of digits and dots.
    return len(uid) <= _UID_LENGTH and _UID.fullmatch(uid) is not None


def understood(file: DataFile) -> bool:
    """Tell whether it can be relied on that UIDs are missing where the manifest has none.

    Of an odd file the manifest's reader may have missed them, unless DCMTK says the same.
    """
    entry = file.entry
    complete = all(entry.get(name) for name in ("study_uid", "series_uid", "sop_uid"))
    return file.cls != "odd" or complete or entry.get("dcmtk") == "uids agree"


def _expectation(file: DataFile) -> tuple[Must, tuple[Refusal, ...]]:
    if file.name in REASONS:
        return Must.REFUSE, REASONS[file.name]
    if not understood(file):
        return Must.EITHER, ()
    if not identified(file):
        # They are type 1 attributes of every composite instance (PS3.3 C.12.1, C.7.2.1, C.7.3.1).
        # Of an odd file the manifest's reader may have missed them.
        named = (Refusal.MISSING_UID, Refusal.ILLEGAL_UID, Refusal.ILLEGAL_SOP_INSTANCE_UID, Refusal.DICOMDIR)
        return (Must.REFUSE, named) if file.cls in {"good", "hostile"} else (Must.EITHER, ())
    if file.cls in {"good", "hostile"} or (file.cls == "odd" and not file.entry.get("expect")):
        return Must.STORE, ()
    expect = file.entry.get("expect") or ""
    if expect == "reject" or expect.startswith(("reject (", "reject without")):
        return Must.REFUSE, ()
    return (Must.STORE if expect.startswith(("store", "storable;")) else Must.EITHER), ()
