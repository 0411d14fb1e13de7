"""Extended negotiation of Query/Retrieve (PS3.4 C.5): what is agreed on, a byte each.

C-FIND: relational queries, combined date-time matching, fuzzy matching of names, timezone
adjustment, conversion to enhanced multi-frame, empty value matching, multiple value matching.
C-MOVE and C-GET: relational retrieval, and that conversion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gantry_dicom.find_identifier import FindOptions
from gantry_dicom.information_models import QUERY_RETRIEVE, Retrieval
from gantry_dimse.association import Association
from gantry_dimse.negotiation import ExtendedNegotiation

# What we can do, in the order of the bytes.
_OFFERED: Mapping[Retrieval, tuple[bool, ...]] = {
    Retrieval.FIND: (True, True, True, False, False, True, True),
    Retrieval.MOVE: (True, False),
    Retrieval.GET: (True, False),
}


def agree(asked: Iterable[ExtendedNegotiation]) -> tuple[ExtendedNegotiation, ...]:
    """Answer what was asked for: what both sides can do, in as many bytes as the peer knows of."""
    answers = []
    for one in asked:
        known = QUERY_RETRIEVE.get(one.sop_class_uid)
        if known is not None:
            agreed = (
                byte == 1 and offered
                for byte, offered in zip(one.information, _OFFERED[known[0]], strict=False)
            )
            answers.append(ExtendedNegotiation(one.sop_class_uid, bytes(agreed)))
    return tuple(answers)


def find_options(association: Association, sop_class_uid: str) -> FindOptions:
    """Return what an association has agreed on for a C-FIND SOP class."""
    agreed = _agreed(association, sop_class_uid)
    return FindOptions(
        relational=agreed[0:1] == b"\1",
        combined_date_times=agreed[1:2] == b"\1",
        fuzzy_names=agreed[2:3] == b"\1",
        empty_values=agreed[5:6] == b"\1",
        multiple_values=agreed[6:7] == b"\1",
    )


def is_relational(association: Association, sop_class_uid: str) -> bool:
    """Tell whether an association has agreed on relational retrieval."""
    return _agreed(association, sop_class_uid)[0:1] == b"\1"


def _agreed(association: Association, sop_class_uid: str) -> bytes:
    accept = association.accept
    extended = accept.user.extended if accept is not None else ()
    return next((one.information for one in extended if one.sop_class_uid == sop_class_uid), b"")
