"""DICOM JSON (PS3.18 Annex F) as the Native DICOM Model (PS3.19 A.1).

Numbers keep the digits that the JSON text has. Characters that XML 1.0 cannot hold (PS3.5 6.1.3
allows form feed and escape in some text) become U+FFFD; line ends are written as references,
so that reading does not alter them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydicom.datadict import keyword_for_tag

from gantry_dicom.errors import CannotProcess

NATIVE_MODEL_TYPE = "application/dicom+xml"
NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'
_ROOT = f'<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">'
GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
# PS3.5 6.2.1: the components of a name in their order.
COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
# What Char of XML 1.0 leaves out.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPED = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#9;"}
)


def native_model_xml(document: bytes | Mapping[str, Any]) -> bytes:
    """Return one DICOM JSON object as a Native DICOM Model document, UTF-8.

    Given as bytes, the digits of its numbers are kept as they stand. Raises ``CannotProcess``
    when it is no DICOM JSON object.
    """
    try:
        attributes = document if isinstance(document, Mapping) else _parse(document)
        body = "".join(_attributes(attributes))
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise CannotProcess("the document is no DICOM JSON object") from error
    return f"{_DECLARATION}{_ROOT}{body}</NativeDicomModel>".encode()


def _parse(document: bytes) -> Mapping[str, Any]:
    parsed: Mapping[str, Any] = json.loads(document, parse_float=str, parse_int=str, parse_constant=str)
    return parsed


def _attributes(attributes: Mapping[str, Any]) -> Iterator[str]:
    creators: dict[str, str] = {}
    for tag, attribute in attributes.items():
        number = int(tag, 16)
        head = f'<DicomAttribute tag="{tag}" vr="{_escaped(attribute["vr"])}"'
        if number >> 16 & 1:
            creator = creators.get(f"{tag[:4]}00{tag[4:6]}", "")
            if creator:
                head += f' privateCreator="{_escaped(creator)}"'
            elif tag[4:6] == "00":
                creators[tag] = str((attribute.get("Value") or [""])[0])
        else:
            keyword = keyword_for_tag(number)
            if keyword:
                head += f' keyword="{keyword}"'
        content = "".join(_content(attribute))
        yield f"{head}>{content}</DicomAttribute>" if content else f"{head}/>"


def _content(attribute: Mapping[str, Any]) -> Iterator[str]:
    vr = attribute["vr"]
    for number, value in enumerate(attribute.get("Value", ()), 1):
        if vr == "SQ":
            yield f'<Item number="{number}">{"".join(_attributes(value or {}))}</Item>'
        elif vr == "PN":
            yield f'<PersonName number="{number}">{"".join(_name(value or {}))}</PersonName>'
        elif value is None:
            yield f'<Value number="{number}"/>'
        else:
            yield f'<Value number="{number}">{_escaped(str(value))}</Value>'
    if attribute.get("BulkDataURI"):
        yield f'<BulkData uri="{_escaped(attribute["BulkDataURI"])}"/>'
    elif attribute.get("InlineBinary"):
        yield f"<InlineBinary>{_escaped(attribute['InlineBinary'])}</InlineBinary>"


def _name(groups: Mapping[str, str]) -> Iterator[str]:
    for group in GROUPS:
        text = groups.get(group, "")
        if not text:
            continue
        # A name of more components than there are keeps them all, in the last.
        parts = text.split("^", len(COMPONENTS) - 1)
        components = (
            f"<{component}>{_escaped(part)}</{component}>"
            for component, part in zip(COMPONENTS, parts, strict=False)
            if part
        )
        yield f"<{group}>{''.join(components)}</{group}>"


def _escaped(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text).translate(_ESCAPED)
