"""Which presentation contexts the listener accepts: storage of everything.

An object is no less worth keeping because its SOP class is retired, private, or newer than the
dictionary that we have: every abstract syntax that is storage, or that the dictionary does not
know, is accepted, in the transfer syntax that the requestor prefers (PS3.8 9.3.3.2 leaves the
choice to the acceptor): what is sent is what is stored. Whether the data set is sound, and
really in that syntax, the admission gate decides.
"""

from __future__ import annotations

from gantry_dicom.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
)
from gantry_dimse.negotiation import VERIFICATION, ContextResult, ProposedContext
from pydicom.uid import UID_dictionary  # type: ignore[attr-defined] # it is public all the same

from gantry_ingest.reporting import STORAGE_COMMITMENT

__all__ = ["VERIFICATION", "choose", "is_storage"]

# Names of the dictionary that speak of storage and are no storage of instances: a service about
# it (PS3.4 J), and the directory of a medium (PS3.10).
# What the reports of storage commitment are written in.
_WRITTEN = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
_NOT_STORAGE = ("Commitment", "Media Storage")


def is_storage(sop_class_uid: str) -> bool:
    """Tell whether instances of a SOP class are stored by C-STORE; so it is for one we do not know."""
    name, kind, *_ = UID_dictionary.get(sop_class_uid, ("", "SOP Class"))
    if not name:
        return True
    return kind == "SOP Class" and "Storage" in name and not any(word in name for word in _NOT_STORAGE)


def choose(context: ProposedContext) -> str | ContextResult:
    """Return the transfer syntax in which a context is accepted, or why it is not."""
    if context.abstract_syntax == STORAGE_COMMITMENT:
        written = (syntax for syntax in _WRITTEN if syntax in context.transfer_syntaxes)
        return next(written, ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED)
    if context.abstract_syntax != VERIFICATION and not is_storage(context.abstract_syntax):
        return ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED
    for transfer_syntax in context.transfer_syntaxes:
        if transfer_syntax in TRANSFER_SYNTAXES:
            return transfer_syntax
    return ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED
