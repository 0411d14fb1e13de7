"""Who a refused object claims to be, so that its failure can be named (PS3.18 I.2)."""

from __future__ import annotations

import struct

from gantry_dicom.element_headers import Buffer
from gantry_dicom.elements import Malformed
from gantry_dicom.part10 import MEDIA_STORAGE_SOP_CLASS_UID, MEDIA_STORAGE_SOP_INSTANCE_UID, parse_meta
from gantry_dicom.refusals import Refused
from gantry_dicom.uids import is_valid_uid


def claimed_identity(buffer: Buffer) -> tuple[str | None, str | None]:
    """Return the SOP Class and SOP Instance UID of the File Meta group, each if it is a UID.

    For objects that the gate refused: nothing of it is certain, and it never raises.
    """
    try:
        meta = parse_meta(buffer)
    except (Malformed, Refused, struct.error, IndexError, ValueError):
        return None, None
    sop_class_uid = meta.text(MEDIA_STORAGE_SOP_CLASS_UID)
    sop_instance_uid = meta.text(MEDIA_STORAGE_SOP_INSTANCE_UID)
    return (
        sop_class_uid if sop_class_uid and is_valid_uid(sop_class_uid) else None,
        sop_instance_uid if sop_instance_uid and is_valid_uid(sop_instance_uid) else None,
    )
