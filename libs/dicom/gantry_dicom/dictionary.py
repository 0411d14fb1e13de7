"""The data dictionary (PS3.6) as the walker needs it: the VR of a tag.

The table is pydicom's. Where PS3.6 leaves a choice, Implicit VR data is read as PS3.5 A.1 says
("OB or OW" is OW); "US or SS" is given as "US", and ``SIGNED_IF_PIXELS_ARE`` lists those tags:
their VR is SS when Pixel Representation (0028,0103) is 1.
"""

from __future__ import annotations

from functools import lru_cache

from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_VR


def _resolved(vr: str) -> str:
    if vr == "NONE":  # items and delimiters
        return "UN"
    if " or " not in vr:
        return vr
    return "OW" if "OW" in vr else "US"


_VRS = {tag: _resolved(entry[0]) for tag, entry in DicomDictionary.items()}

SIGNED_IF_PIXELS_ARE = frozenset(tag for tag, entry in DicomDictionary.items() if entry[0] == "US or SS")


def implicit_vr(tag: int) -> str:
    """Return the VR of ``tag`` in Implicit VR: dictionary, LO for private creators, else UN."""
    vr = _VRS.get(tag)
    return vr if vr is not None else _uncommon_vr(tag)


@lru_cache(maxsize=4096)
def _uncommon_vr(tag: int) -> str:
    group, number = tag >> 16, tag & 0xFFFF
    if number == 0:
        return "UL"  # group length, PS3.5 7.2
    if group & 1:
        return "LO" if 0x10 <= number <= 0xFF else "UN"  # private creator, PS3.5 7.8.1
    try:
        return _resolved(str(dictionary_VR(tag)))  # repeating groups 50xx, 60xx
    except KeyError:
        return "UN"
