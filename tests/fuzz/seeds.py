"""What fuzzing begins with: small inputs that are right."""

from __future__ import annotations

from collections.abc import Mapping
from zlib import compressobj

from gantry_dimse.commands import Command, CommandField, encode_command
from gantry_dimse.negotiation import AssociateRequest, ProposedContext, UserInformation
from gantry_dimse.pdus import (
    RELEASE_RQ,
    encode_request,
)
from gantry_testing import raw

_DEFLATED = "1.2.840.10008.1.2.1.99"
_NESTED = raw.undefined_sequence(0x00081140, raw.item(raw.ui(0x00081155, "1.2.3"), undefined=True))
_IMAGE = raw.image(raw.element(0x7FE00010, "OW", bytes(6)), extra=[(0x00081140, _NESTED)])
_COMPRESSED = raw.image(raw.encapsulated(b"\xff\xd8\xff\xd9", offsets=[0]))
_DOCUMENT = (
    b'[{"00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.7"]},"00100010":{"vr":"PN","Value":'
    b'[{"Alphabetic":"A^B"}]},"00280010":{"vr":"US","Value":[2]},"00081140":{"vr":"SQ","Value":[{}]},'
    b'"00420011":{"vr":"OB","InlineBinary":"AAE="}}]'
)
_XML = (
    b'<NativeDicomModel><DicomAttribute tag="00100010" vr="PN" keyword="PatientName"><PersonName number="1">'
    b"<Alphabetic><FamilyName>A</FamilyName></Alphabetic></PersonName></DicomAttribute>"
    b'<DicomAttribute tag="00280010" vr="US"><Value number="1">2</Value></DicomAttribute></NativeDicomModel>'
)
_REQUEST = AssociateRequest(
    "ARCHIVE",
    "MODALITY",
    (ProposedContext(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),),
    UserInformation(),
)
_KEYS = {
    0x00080018: ("UI", b"1.2\\1.22"),
    0x00080020: ("DA", b"20240101-20240131 "),
    0x00080052: ("CS", b"IMAGE "),
    0x00100010: ("PN", b"A*^B? "),
    0x0020000D: ("UI", b"1.20"),
    0x0020000E: ("UI", b"1.30"),
}
_IDENTIFIER = b"".join(raw.element(tag, vr, value) for tag, (vr, value) in _KEYS.items())
_IMPLICIT_IDENTIFIER = b"".join(raw.implicit(tag, value) for tag, (_, value) in _KEYS.items())
_P_DATA = bytes.fromhex("04000000000b 00000007 0103") + b"hello"


def _deflated(data_set: bytes) -> bytes:
    packer = compressobj(wbits=-15)
    return packer.compress(data_set) + packer.flush()


SEEDS: Mapping[str, tuple[bytes, ...]] = {
    "gate": (
        raw.part10(_IMAGE),
        raw.part10(_COMPRESSED, "1.2.840.10008.1.2.4.50"),
        raw.part10(_deflated(_IMAGE), _DEFLATED),
        _IMAGE,
    ),
    "gate-data-set": (b"\0" + _IMAGE, b"\3" + _deflated(_IMAGE)),
    "elements": (b"\0" + _IMAGE, b"\0" + _COMPRESSED, b"\1" + raw.implicit(0x00100020, b"12")),
    "part10": (raw.part10(b""), raw.part10(b"", group_length=-1)),
    "identifier": (b"\0" + _IDENTIFIER, b"\1" + _IMPLICIT_IDENTIFIER),
    "json-metadata": (_DOCUMENT,),
    "xml-metadata": (_XML,),
    "multipart": (b"\4--b\r\nContent-Type: application/dicom\r\n\r\nabc\r\n--b--\r\n",),
    "media-types": (
        b'multipart/related; type="application/octet-stream"; transfer-syntax=*;q=0.5, */*;q=0.1\nimage/jpeg',
    ),
    "query": (
        b"PatientName=A*^B%3F&StudyDate=20240101-20240131&limit=2&includefield=00081030,all",
        b"00400275.00400007=x&ModalitiesInStudy=CT,MR&fuzzymatching=true&window=40,400,linear&viewport=9,9",
    ),
    "byte-range": (b'bytes=0-9,20-\n"tag"',),
    "pdus": (
        encode_command(Command(CommandField.C_ECHO, affected_sop_class_uid="1.2.3", message_id=1)),
        encode_request(_REQUEST)[6:],
    ),
    "pdu-stream": (b"\3" + _P_DATA + RELEASE_RQ,),
}
