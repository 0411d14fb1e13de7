"""What is fuzzed: every parser of bytes that strangers send.

A target takes any bytes. Errors that are meant to be raised it expects; everything else that
comes out of it, and every broken promise it checks, is a finding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import parse_qsl

from gantry_dicom.admission import Admission, GateLimits
from gantry_dicom.elements import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, walk
from gantry_dicom.errors import GantryError
from gantry_dicom.find_identifier import FindOptions, find_request
from gantry_dicom.gate import admit, admit_data_set, header_of
from gantry_dicom.identifiers import read_identifier
from gantry_dicom.information_models import QUERY_RETRIEVE
from gantry_dicom.json_decoder import data_set_of, parse_documents
from gantry_dicom.json_encoder import encode_header
from gantry_dicom.part10 import parse_meta
from gantry_dicom.query import Level
from gantry_dicom.query_params import parse_query
from gantry_dicom.refusals import Refusal, Refused
from gantry_dicom.retrieve_identifier import retrieve_keys
from gantry_dicom.xml_decoder import json_from_native_model
from gantry_dicom.xml_encoder import native_model_xml
from gantry_dimse.commands import decode_command
from gantry_dimse.errors import BadPdu
from gantry_dimse.limits import Limits
from gantry_dimse.pdus import decode_accept, decode_request
from gantry_dimse.reader import PduReader
from gantry_gateway.byte_ranges import requested_range
from gantry_gateway.media_types import parse_accept
from gantry_gateway.multipart import MultipartReader, PartData, PartStarted
from gantry_gateway.render_parameters import parse_render_request
from gantry_gateway.representations import choose_instance
from gantry_testing import strict_json

Target = Callable[[bytes], None]

EXPLICIT = "1.2.840.10008.1.2.1"
# Tight, so that a small input can go beyond them.
GATE = GateLimits(max_inflated_bytes=1 << 20, max_header_bytes=1 << 20)
PDUS = Limits(maximum_pdu_bytes=1000, maximum_request_bytes=500)
ENCODINGS = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG)
DATA_SET_SYNTAXES = (EXPLICIT, "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")
BOUNDARY = "b"


def gate(data: bytes) -> None:
    """A file: what is admitted can be admitted again, and described as JSON."""
    with contextlib.suppress(GantryError):
        admission = admit(data, limits=GATE)
        stored = (admission.meta or data[: admission.data_set_offset]) + data[admission.data_set_offset :]
        check_admitted(stored, admission)


def gate_data_set(data: bytes) -> None:
    """A data set as C-STORE carries it; its first byte chooses the transfer syntax."""
    if not data:
        return
    with contextlib.suppress(GantryError):
        syntax = DATA_SET_SYNTAXES[data[0] % len(DATA_SET_SYNTAXES)]
        admission = admit_data_set(data[1:], syntax, limits=GATE)
        if admission.meta is not None:
            check_admitted(admission.meta + data[1 + admission.data_set_offset :], admission)


def check_admitted(stored: bytes, admission: Admission) -> None:
    """Check what the rest of the archive relies on in an object that was admitted."""
    again = admit(stored, limits=GATE)
    if again.meta is not None or again.sop_instance_uid != admission.sop_instance_uid:
        raise AssertionError("an admitted object is another one when it is read again")
    header, _ = header_of(stored, limits=GATE)
    encoded = encode_header(
        header,
        study_instance_uid=admission.study_instance_uid,
        series_instance_uid=admission.series_instance_uid,
        sop_instance_uid=admission.sop_instance_uid,
    )
    native_model_xml(strict_json.read(encoded.json))


def elements(data: bytes) -> None:
    """The walker over bytes; the first chooses the encoding."""
    if not data:
        return
    encoding = ENCODINGS[data[0] % len(ENCODINGS)]
    with contextlib.suppress(GantryError):
        position = 1
        for element in walk(data, 1, len(data), encoding, deep=True):
            if element.header_offset < position or element.end > len(data):
                raise AssertionError("an element lies outside its data set")
            position = element.end


def part10(data: bytes) -> None:
    """The File Meta group."""
    with contextlib.suppress(GantryError):
        if parse_meta(data).data_set_offset > len(data):
            raise AssertionError("the data set begins behind the file's end")


def identifier(data: bytes) -> None:
    """The identifier of C-FIND, C-MOVE and C-GET on every model; its first byte chooses the encoding."""
    if not data:
        return
    encoding = ENCODINGS[data[0] % len(ENCODINGS)]
    for _, model in QUERY_RETRIEVE.values():
        with contextlib.suppress(GantryError):
            read = read_identifier(data[1:], encoding, model)
            with contextlib.suppress(GantryError):
                retrieve_keys(read, model, relational=True)
            for options in (FindOptions(), FindOptions(True, True, True, True)):
                find_request(read, model, options, partition="main", limit=10)


def json_metadata(data: bytes) -> None:
    """Metadata of a store request as JSON."""
    with contextlib.suppress(GantryError):
        for document in parse_documents(data):
            with contextlib.suppress(GantryError):
                check_data_set(b"".join(data_set_of(document, no_bulk_data)))


def xml_metadata(data: bytes) -> None:
    """Metadata of a store request as XML."""
    with contextlib.suppress(GantryError):
        check_data_set(b"".join(data_set_of(json_from_native_model(data), no_bulk_data)))


def check_data_set(data_set: bytes) -> None:
    """Check that what was made of metadata can be walked to its end."""
    try:
        list(walk(data_set, 0, len(data_set), EXPLICIT_LITTLE, deep=True))
    except GantryError as error:
        raise AssertionError("metadata were made into no data set") from error


def no_bulk_data(_uri: str) -> Sequence[bytes]:
    """Have no bulk data."""
    raise Refused(Refusal.BULK_DATA_MISSING)


def multipart(data: bytes) -> None:
    """The body of a store request; its first byte says in what pieces it comes."""
    if data:
        one, several = read_parts(data[1:], len(data)), read_parts(data[1:], 1 + data[0])
        if one != several:
            raise AssertionError("it matters how a body is cut")


def read_parts(body: bytes, step: int) -> list[tuple[dict[str, str], bytearray]] | None:
    """Return the parts of a body read in pieces of ``step`` bytes, None when it is refused."""
    reader = MultipartReader(BOUNDARY)
    parts: list[tuple[dict[str, str], bytearray]] = []
    try:
        for start in range(0, len(body), step):
            for event in reader.feed(body[start : start + step]):
                if isinstance(event, PartStarted):
                    parts.append((event.headers, bytearray()))
                elif isinstance(event, PartData):
                    parts[-1][1].extend(event.data)
        reader.finish()
    except GantryError:
        return None
    return parts


def media_types(data: bytes) -> None:
    """Accept, in the header and as a parameter."""
    header, _, parameter = data.decode("latin-1").partition("\n")
    with contextlib.suppress(GantryError):
        ranges = parse_accept(header, parameter or None)
        if not all(0 <= one.quality <= 1 for one in ranges):
            raise AssertionError("a weight is no weight")
        choose_instance(ranges, single_allowed=True)


def query(data: bytes) -> None:
    """The query of a search, at every level, and of a rendering."""
    params = parse_qsl(data.decode("latin-1"), keep_blank_values=True)
    for level in Level:
        with contextlib.suppress(GantryError):
            parse_query(level, params, partition="main")
    with contextlib.suppress(GantryError):
        parse_render_request(dict(params))


def byte_range(data: bytes) -> None:
    """Range and If-Range."""
    wanted, _, condition = data.decode("latin-1").partition("\n")
    with contextlib.suppress(GantryError):
        requested_range({"range": wanted, "if-range": condition}, '"tag"', 1000)


def pdus(data: bytes) -> None:
    """Bodies of the PDUs that open an association, and a command set."""
    for decode in (decode_request, decode_accept, decode_command):
        with contextlib.suppress(GantryError):
            decode(data)


def pdu_stream(data: bytes) -> None:
    """The stream of a DIMSE connection; its first byte says in what pieces it comes."""
    if data:
        one, several = read_stream(data[1:], len(data)), read_stream(data[1:], 1 + data[0])
        if one != several:
            raise AssertionError("it matters how a stream is cut")


class Stream:
    """Joins what a connection carries; a PDU and a whole fragment are one entry each."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, bytes]] = []
        self._pieces = bytearray()

    def data_begins(self) -> None:
        """Note that a P-DATA-TF begins."""
        self.seen.append((0, 0, b""))

    def fragment(self, context_id: int, control: int, piece: memoryview, *, ends: bool) -> None:
        """Note a piece of a fragment."""
        self._pieces += piece
        if ends:
            self.seen.append((context_id, control, bytes(self._pieces)))
            self._pieces.clear()

    def pdu(self, kind: int, body: bytes) -> None:
        """Note another PDU."""
        self.seen.append((kind, -1, body))


def read_stream(data: bytes, step: int) -> tuple[list[tuple[int, int, bytes]], bool]:
    """Return what a stream carries, and whether it was refused."""
    stream = Stream()
    reader = PduReader(stream, PDUS)
    try:
        for start in range(0, len(data), step):
            reader.feed(memoryview(data[start : start + step]))
    except BadPdu:
        return stream.seen, True
    return stream.seen, False


TARGETS: Mapping[str, Target] = {
    target.__name__.replace("_", "-"): target
    for target in (
        *(gate, gate_data_set, elements, part10, identifier, json_metadata, xml_metadata),
        *(multipart, media_types, query, byte_range, pdus, pdu_stream),
    )
}
