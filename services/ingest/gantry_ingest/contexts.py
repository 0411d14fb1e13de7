"""Which presentation contexts the listener supports: storage of everything.

An object is no less worth keeping because its SOP class is retired, private, or newer than the
library that negotiates: every abstract syntax that is storage, or that pynetdicom does not
know, is accepted, in the transfer syntax that the requestor prefers (PS3.8 9.3.3.2 leaves the
choice to the acceptor): what is sent is what is stored. Whether the data set is sound, and
really in that syntax, the admission gate decides.
"""

from __future__ import annotations

from gantry_dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from pynetdicom import (
    AE,
    AllStoragePresentationContexts,
    NonPatientObjectPresentationContexts,
    _config,
)

VERIFICATION = "1.2.840.10008.1.1"


def add_supported_contexts(ae: AE) -> None:
    """Add Verification and all of storage to ``ae``, that of objects of no patient too (PS3.4 GG)."""
    ae.add_supported_context(VERIFICATION)
    transfer_syntaxes = list(TRANSFER_SYNTAXES)
    for context in (*AllStoragePresentationContexts, *NonPatientObjectPresentationContexts):
        ae.add_supported_context(str(context.abstract_syntax), transfer_syntaxes)


def take_whatever_is_sent() -> None:
    """Set up pynetdicom, for this process, to accept unknown SOP classes and to pass on illegal UIDs.

    Its own check of UIDs would abort the association; the gate's refusal of the one instance
    leaves it usable (PS3.4 B.2.3).
    """
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    _config.VALIDATORS["UI"] = _pass


def _pass(_value: str) -> tuple[bool, str]:
    return True, ""
