"""What a bulk data value is, beyond its octets."""

from __future__ import annotations

import re

from gantry_dicom.bulk import BulkValue
from gantry_dicom.elements import walk
from gantry_dicom.header import DataSetHeader

from gantry_gateway.representations import OCTET_STREAM

_ENCAPSULATED_DOCUMENT = 0x00420011
_MIME_TYPE_OF_ENCAPSULATED_DOCUMENT = 0x00420012
_PLAIN_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+")


def document_media_type(header: DataSetHeader, value: BulkValue) -> str:
    """Return the media type of an encapsulated document, by its own attribute; else octets.

    The attribute is what a sender wrote: only a plain type and subtype is believed.
    """
    if value.tag != _ENCAPSULATED_DOCUMENT:
        return OCTET_STREAM
    for element in walk(header.before_pixel_data, 0, len(header.before_pixel_data), header.encoding):
        if element.tag == _MIME_TYPE_OF_ENCAPSULATED_DOCUMENT:
            start = element.value_offset
            raw = bytes(header.before_pixel_data[start : start + element.length])
            text = raw.decode("ascii", "replace").strip(" \0").lower()
            return text if _PLAIN_MEDIA_TYPE.fullmatch(text) else OCTET_STREAM
    return OCTET_STREAM


def swapped(data: bytes, unit: int) -> bytes:
    """Return ``data`` with the bytes of each ``unit`` reversed; a rest at the end stays."""
    if unit == 1:
        return data
    whole = len(data) - len(data) % unit
    out = bytearray(data)
    for position in range(unit):
        out[position:whole:unit] = data[unit - 1 - position : whole : unit]
    return bytes(out)
