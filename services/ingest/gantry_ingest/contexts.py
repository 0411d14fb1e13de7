"""Which presentation contexts the listener supports.

Every storage SOP class of the standard that pynetdicom knows, with every transfer syntax
that the archive can keep. A requestor's order of transfer syntaxes is its preference and
is kept (PS3.8 9.3.3.2 leaves the choice to the acceptor): what is sent is what is stored.
"""

from __future__ import annotations

from gantry_dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from pynetdicom import AE, AllStoragePresentationContexts

VERIFICATION = "1.2.840.10008.1.1"


def add_supported_contexts(ae: AE) -> None:
    """Add Verification and all of storage to ``ae``."""
    ae.add_supported_context(VERIFICATION)
    transfer_syntaxes = list(TRANSFER_SYNTAXES)
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(str(context.abstract_syntax), transfer_syntaxes)
