"""The Native DICOM Model (PS3.19 A.1) as DICOM JSON (PS3.18 Annex F), for documents of strangers.

The parser knows no document types and so no entities but XML's own five: nothing in a document can
grow beyond what was sent, or name a file or an address. Nesting and the number of elements are
bounded. All values come out as text; the JSON decoder takes numbers in that form too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree as ET
from xml.parsers import expat

from gantry_dicom.elements import DEFAULT_MAX_DEPTH
from gantry_dicom.refusals import Refusal, Refused
from gantry_dicom.xml_encoder import COMPONENTS, GROUPS

# Elements of one document: DicomAttribute, Value, Item and so on.
MAX_NODES = 2_000_000
# DicomAttribute and Item for each sequence; what stands in the innermost attribute.
_MAX_DEPTH = 2 * DEFAULT_MAX_DEPTH + 8
_TAG = re.compile(r"[0-9A-Fa-f]{8}")


def json_from_native_model(xml: bytes) -> dict[str, Any]:
    """Return a document as a DICOM JSON object.

    Raises ``Refused`` when it is not well formed, too deep, too large, has a document type, or
    is no Native DICOM Model.
    """
    root = _parse(xml)
    if root.tag != "NativeDicomModel":
        raise Refused(Refusal.METADATA_MALFORMED, "no Native DICOM Model")
    try:
        return _data_set(root)
    except (KeyError, ValueError) as error:
        raise Refused(Refusal.METADATA_MALFORMED, "no Native DICOM Model") from error


def _parse(xml: bytes) -> ET.Element:
    if xml.count(b"<") > 2 * MAX_NODES:
        raise Refused(Refusal.METADATA_MALFORMED, "too many elements")
    builder = ET.TreeBuilder()
    depth = 0

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise Refused(Refusal.NESTED_TOO_DEEPLY)
        builder.start(_local(name), attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_local(name))

    def refuse(*_: object) -> None:
        raise Refused(Refusal.METADATA_MALFORMED, "document types are not taken")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(xml, True)
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise Refused(Refusal.METADATA_MALFORMED, "the XML is not well formed") from error


def _local(name: str) -> str:
    return name.rpartition(" ")[2]


def _data_set(parent: ET.Element) -> dict[str, Any]:
    found: dict[str, Any] = {}
    # Attributes named by creator, their block left to the reader (PS3.19 Table A.1.5-2).
    unplaced: list[tuple[str, str, dict[str, Any]]] = []
    for node in parent:
        if node.tag != "DicomAttribute":
            continue
        tag, creator = node.attrib["tag"].upper(), node.get("privateCreator", "")
        if _TAG.fullmatch(tag) is None:
            raise ValueError("not a tag")
        attribute = _attribute(node)
        if creator and tag[4:6] == "00":
            unplaced.append((tag, creator, attribute))
        else:
            found[tag] = attribute
    for tag, creator, attribute in unplaced:
        found[f"{tag[:4]}{_block(found, tag[:4], creator)}{tag[6:]}"] = attribute
    return found


def _block(found: dict[str, Any], group: str, creator: str) -> str:
    """Return the block of a creator in a group, which it gets when it has none (PS3.5 7.8.1)."""
    for number in range(0x10, 0x100):
        held = found.setdefault(f"{group}00{number:02X}", {"vr": "LO", "Value": [creator]})
        if held.get("Value") == [creator]:
            return f"{number:02X}"
    raise ValueError("no private block is free")


def _attribute(node: ET.Element) -> dict[str, Any]:
    attribute: dict[str, Any] = {"vr": node.attrib["vr"]}
    values: list[tuple[int, Any]] = []
    for child in node:
        if child.tag == "Value":
            values.append((_number(child), child.text))
        elif child.tag == "PersonName":
            values.append((_number(child), _name(child)))
        elif child.tag == "Item":
            values.append((_number(child), _data_set(child)))
        elif child.tag == "InlineBinary":
            attribute["InlineBinary"] = "".join((child.text or "").split())
        elif child.tag == "BulkData":
            attribute["BulkDataURI"] = child.get("uri") or child.attrib["uuid"]
    if values:
        attribute["Value"] = [value for _, value in sorted(values, key=lambda pair: pair[0])]
    return attribute


def _number(node: ET.Element) -> int:
    return int(node.get("number", "1"))


def _name(node: ET.Element) -> dict[str, str]:
    return {group.tag: _components(group) for group in node if group.tag in GROUPS}


def _components(group: Iterable[ET.Element]) -> str:
    texts = {component.tag: component.text or "" for component in group}
    return "^".join(texts.get(component, "") for component in COMPONENTS).rstrip("^")
