"""The pieces that DICOM JSON objects are joined from (PS3.18 F.2.2).

A fragment is the JSON text of one attribute with a comma behind it: ``"GGGGEEEE":{...},``. Runs
of fragments are joined without being parsed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import quote

from gantry_dicom.attributes import SPECIFIC_CHARACTER_SET
from gantry_dicom.element_headers import PIXEL_DATA_TAGS
from gantry_dicom.facts import BASE_MARK

# Octets up to this many bytes are given inline.
INLINE_LIMIT = 1024
# Values that are what an object is for: fetched apart whatever their length, so that a viewer
# has one way to them (Encapsulated Document beside the pixels).
ALWAYS_APART = PIXEL_DATA_TAGS | {0x00420011}

# Stands for the instance's bulk data URL inside fragments, which are shared between instances.
BULK_MARK = b"\x1d"

# Specific Character Set of an object with text beyond ASCII (PS3.18 F.2).
CHARACTER_SET_FRAGMENT = b'"00080005":{"vr":"CS","Value":["ISO_IR 192"]},'

Fragments = dict[int, bytes]
"""Fragments by tag."""

Path = tuple[int, ...]
"""Tags and 1-based item numbers in turn, from the outside in."""


def fragment(tag: int, vr: str, value: bytes) -> bytes:
    """Return the fragment of an attribute, with the JSON array ``value`` or none (``b""``)."""
    if value:
        return b'"%08X":{"vr":"%b","Value":%b},' % (tag, vr.encode(), value)
    return b'"%08X":{"vr":"%b"},' % (tag, vr.encode())


def inline_fragment(tag: int, vr: str, base64_string: bytes) -> bytes:
    """Return the fragment of octets given inline as a JSON string of base64."""
    return b'"%08X":{"vr":"%b","InlineBinary":%b},' % (tag, vr.encode("ascii"), base64_string)


def bulk_fragment(path: Path, tag: int, vr: str) -> bytes:
    """Return the fragment of a value that is fetched apart; its URI begins with ``BULK_MARK``."""
    where = path_text(path, tag).encode("ascii")
    return b'"%08X":{"vr":"%b","BulkDataURI":"%b%b"},' % (tag, vr.encode("ascii"), BULK_MARK, where)


def path_text(path: Iterable[int], tag: int) -> str:
    """Return a tag path as bulk data URIs have it: ``54000100/1/54001010``."""
    parts = [f"{part:08X}" if index % 2 == 0 else str(part) for index, part in enumerate((*path, tag))]
    return "/".join(parts)


def bulk_data_base(study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str) -> bytes:
    """Return what stands for ``BULK_MARK``: the instance's bulk data URL with a final slash."""
    study, series, sop = (
        quote(uid, safe="") for uid in (study_instance_uid, series_instance_uid, sop_instance_uid)
    )
    path = f"/studies/{study}/series/{series}/instances/{sop}/bulkdata/"
    return BASE_MARK + path.encode("ascii")


def close_run(fragments: Fragments, base: bytes, *, declared: bool = False) -> bytes:
    """Join the fragments of an object: Specific Character Set in its place, URIs complete.

    Specific Character Set is ISO_IR 192 when there is text beyond ASCII or the source
    ``declared`` one, else absent.
    """
    body = b"".join(fragments.values())
    if declared or not body.isascii():
        head = b"".join(_before(fragments, SPECIFIC_CHARACTER_SET))
        body = head + CHARACTER_SET_FRAGMENT + body[len(head) :]
    return body.replace(BULK_MARK, base)


def close_object(run: bytes) -> bytes:
    """Return the JSON object of a run of fragments."""
    return b"{" + run.removesuffix(b",") + b"}"


def _before(fragments: Fragments, tag: int) -> Iterator[bytes]:
    for found, text in fragments.items():
        if found > tag:
            return
        yield text
