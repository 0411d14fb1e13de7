"""Data sets as DICOM JSON (PS3.18 Annex F), from bytes to finished bytes.

The elements that the walker finds are turned into JSON fragments one by one, without building
objects in between; an element whose bytes, encoding and character set were seen before in the
chunk is taken from the ``EncoderMemo``. What holds for every object:

* Attributes are ordered by tag whatever the order in the file; of duplicates the first counts.
  Group lengths and groups 0000 and 0002 are left out (F.2.2).
* The text is UTF-8. Specific Character Set is ISO_IR 192 when the source names a character set or
  an object holds text beyond ASCII, and absent otherwise; never the label of the source.
* Pixel data and encapsulated documents always go by ``BulkDataURI``; other octets (OB OD OF OL OV
  OW UN) above ``INLINE_LIMIT`` too, below it they are ``InlineBinary``. Octets of big endian data
  sets are given in little endian order.
* UN values of standard or well-known private attributes are read by the dictionary's VR if they
  fit (PS3.5 6.2.2, note 2); sequences hidden in UN are shown as sequences. Unknown VR codes and
  values that do not fit their VR are UN.
* One bad element never harms another: it is given as UN and named in ``oddities``.

``values`` has the rules for each VR. Header bytes that the walker refuses (the gate admits none)
are tried with pydicom, see ``reference_encoder``.
"""

from __future__ import annotations

from dataclasses import dataclass

from gantry_dicom.charsets import DEFAULT
from gantry_dicom.element_json import Level, Run, encode_level
from gantry_dicom.elements import Malformed
from gantry_dicom.encoder_memo import EncoderMemo
from gantry_dicom.fragments import (
    Fragments,
    bulk_data_base,
    bulk_fragment,
    close_object,
    close_run,
    fragment,
)
from gantry_dicom.header import DataSetHeader
from gantry_dicom.reference_encoder import encode_with_pydicom

__all__ = [
    "ENCODER_VERSION",
    "EncodedHeader",
    "EncodedObject",
    "EncoderMemo",
    "encode_elements",
    "encode_header",
]

# Raised whenever the same header would be encoded differently: stored JSON is derived again.
ENCODER_VERSION = 3


@dataclass(frozen=True, slots=True)
class EncodedHeader:
    """The top-level fragments in the order of their tags, and what was odd (by tag path)."""

    fragments: Fragments
    oddities: tuple[str, ...]
    # Whether the source names a character set.
    declared: bool = False


@dataclass(frozen=True, slots=True)
class EncodedObject:
    """A finished JSON object (with ``BASE_MARK`` before bulk data paths)."""

    json: bytes
    oddities: tuple[str, ...]


def encode_header(
    header: DataSetHeader,
    *,
    study_instance_uid: str,
    series_instance_uid: str,
    sop_instance_uid: str,
    memo: EncoderMemo | None = None,
) -> EncodedObject:
    """Return the instance's complete metadata object (PS3.18 10.4.1.1.2).

    Raises ``Malformed`` when the bytes are no data set.
    """
    encoded = encode_elements(header, memo)
    base = bulk_data_base(study_instance_uid, series_instance_uid, sop_instance_uid)
    return EncodedObject(
        close_object(close_run(encoded.fragments, base, declared=encoded.declared)), encoded.oddities
    )


def encode_elements(header: DataSetHeader, memo: EncoderMemo | None = None) -> EncodedHeader:
    """Encode every top-level element; bulk data URIs begin with ``fragments.BULK_MARK``.

    Specific Character Set is not among the fragments (see ``fragments.close_run``). Raises
    ``Malformed`` when the bytes are no data set.
    """
    run = Run(memo)
    try:
        fragments, declared = _encode_top(run, header)
    except Malformed:
        return EncodedHeader(*encode_with_pydicom(header))
    return EncodedHeader(fragments, tuple(run.oddities), declared)


def _encode_top(run: Run, header: DataSetHeader) -> tuple[Fragments, bool]:
    before, after = header.before_pixel_data, header.after_pixel_data
    level = Level(before, 0, len(before), header.encoding, DEFAULT)
    encode_level(run, level)
    fragments, declared = level.fragments, level.declared
    if header.pixel_data_tag is not None:
        _add(run, fragments, header.pixel_data_tag, _pixel_data(header))
    if after:
        run.ends.clear()
        level = Level(after, 0, len(after), header.encoding, level.sets)
        encode_level(run, level)
        for tag, made in level.fragments.items():
            _add(run, fragments, tag, made)
    tags = list(fragments)
    return (fragments if tags == sorted(tags) else dict(sorted(fragments.items()))), declared


def _add(run: Run, fragments: Fragments, tag: int, made: bytes) -> None:
    if tag in fragments:
        run.odd((), tag, "duplicate")
    else:
        fragments[tag] = made


def _pixel_data(header: DataSetHeader) -> bytes:
    tag, vr = header.pixel_data_tag or 0, header.pixel_data_vr or "OW"
    if header.pixel_data_length == 0 and not header.encapsulated:
        return fragment(tag, vr, b"")
    return bulk_fragment((), tag, vr)
