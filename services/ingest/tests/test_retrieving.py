"""The rules of C-MOVE and C-GET: counts, contexts, destinations, and the record before the first byte."""

import asyncio
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from gantry_access.assembly import Access
from gantry_access.point import named_point
from gantry_dicom.element_headers import IMPLICIT_LITTLE
from gantry_dicom.elements import walk
from gantry_dicom.errors import BadRequest, CannotProcess, NotAllowed, Unavailable
from gantry_dicom.little_endian import element
from gantry_dimse.commands import CommandField
from gantry_index.records import StoredInstance
from gantry_ingest.access import C_GET, Caller
from gantry_ingest.destinations import Destination, Destinations
from gantry_ingest.move_destinations import parse_destinations
from gantry_ingest.moving import batches
from gantry_ingest.query_statuses import query_status
from gantry_ingest.retrieving import Planning
from gantry_ingest.suboperations import SubOperations

GET = "1.2.840.10008.5.1.4.1.2.2.3"
IMPLICIT = "1.2.840.10008.1.2"


def stored(sop_uid, sop_class_uid="1.2.3", transfer_syntax_uid=IMPLICIT, study_uid="1.2"):
    return StoredInstance(
        study_uid=study_uid,
        series_uid="1.3",
        sop_uid=sop_uid,
        sop_class_uid=sop_class_uid,
        instance_number=1,
        transfer_syntax_uid=transfer_syntax_uid,
        store_id="primary",
        object_key="o/1",
        size=1,
        meta_length=0,
        frame_table=b"",
        rows=None,
        columns=None,
        number_of_frames=None,
        received_key="o/1",
        received_size=1,
        data_set_digest=b"",
    )


@pytest.mark.parametrize(
    ("statuses", "cancelled", "final"),
    [
        ([], False, 0x0000),
        ([0, 0], False, 0x0000),
        ([0, 0xB000], False, 0xB000),
        ([0, 0xA700], False, 0xB000),
        ([0xB007, None], False, 0xB000),
        ([None, 0xC000], False, 0xA702),
        ([0, None], True, 0xFE00),
    ],
)
def test_the_last_answer_says_how_it_went(statuses, cancelled, final):
    counts = SubOperations(len(statuses) + cancelled)
    for number, status in enumerate(statuses):
        counts.ended(f"1.2.{number}", status)
    response = counts.final(cancelled=cancelled, explicit=False)
    assert response.status == final
    assert response.remaining == (1 if cancelled else None)
    failed = [
        n for n, status in enumerate(statuses) if status is None or not (status == 0 or status >> 12 == 0xB)
    ]
    assert response.failed == len(failed)
    if not failed:
        assert response.data is None
        return
    (uids,) = walk(response.data, 0, len(response.data), IMPLICIT_LITTLE)
    value = response.data[uids.value_offset : uids.value_offset + uids.length]
    assert uids.tag == 0x00080058
    assert value.rstrip(b"\0").decode().split("\\") == [f"1.2.{n}" for n in failed]


def test_contexts_that_do_not_fit_into_one_association_go_into_several():
    instances = [stored(f"1.{n}", f"1.2.{n}", f"1.2.840.10008.1.2.4.{50 + n % 3}") for n in range(200)]
    parts = list(batches(instances))
    assert all(len(contexts) <= 128 for contexts, _ in parts)
    assert [one for _, batch in parts for one in batch] == instances
    for contexts, batch in parts:
        proposed = {(context.abstract_syntax, context.transfer_syntaxes) for context in contexts}
        for one in batch:
            assert (one.sop_class_uid, (one.transfer_syntax_uid,)) in proposed
            assert (one.sop_class_uid, (IMPLICIT,)) in proposed


def test_destinations_are_the_named_ones_without_rules_and_the_registered_ones_with_them():
    named = parse_destinations("WS=ws.example:104, B=[::1]:11112")
    assert named == {"WS": ("ws.example", 104), "B": ("::1", 11112)}
    assert Destinations(Access(named_point("open"), None), named).find("WS ", "main") == Destination(
        "WS", "ws.example", 104
    )
    registered = {("PACS", "main"): ("10.0.0.1", 104)}
    entities = SimpleNamespace(address=lambda title, partition: registered.get((title, partition)))
    feed = SimpleNamespace(current=lambda: SimpleNamespace(entities=entities))
    destinations = Destinations(SimpleNamespace(point=SimpleNamespace(feed=feed)), named)
    assert destinations.find("PACS", "main") == Destination("PACS", "10.0.0.1", 104)
    assert destinations.find("PACS", "other") is None
    assert destinations.find("WS", "main") is None


@pytest.mark.parametrize("text", ["WS", "WS=host", "WS=host:port", "=host:104", "WS=:104"])
def test_a_setting_that_names_no_destination_is_refused(text):
    with pytest.raises(ValueError, match="GANTRY_MOVE_DESTINATIONS"):
        parse_destinations(text)


@pytest.mark.parametrize(
    ("error", "find", "move"),
    [
        (BadRequest(""), 0xA900, 0xA900),
        (CannotProcess(""), 0xC000, 0xC000),
        (Unavailable(""), 0xA700, 0xA701),
        (NotAllowed(""), 0x0124, 0x0124),
    ],
)
def test_errors_have_the_status_of_their_kind(error, find, move):
    assert query_status(CommandField.C_FIND, error) == find
    assert query_status(CommandField.C_MOVE, error) == move


@dataclass
class Notes:
    """An access log whose records become durable when a test says so."""

    point: object = field(default_factory=lambda: named_point("open"))
    written: Future = field(default_factory=Future)
    noted: list = field(default_factory=list)

    def note(self, kind, principal, **record):
        self.noted.append(record)
        return self.written


async def test_nothing_is_sent_before_the_record_of_it_is_durable():
    class Index:
        async def instances(self, partition, study_uid, series_uid=None, sop_uid=None):
            return [stored("1.4"), stored("1.5")]

    notes = Notes()
    identifier = element(0x00080052, "CS", b"STUDY", explicit=False) + element(
        0x0020000D, "UI", b"1.2", explicit=False
    )
    operation = SimpleNamespace(
        association=SimpleNamespace(accept=None),
        context=SimpleNamespace(abstract_syntax=GET, transfer_syntax=IMPLICIT),
        data=identifier,
    )
    caller = Caller("TESTER", "127.0.0.1", "main")
    planning = asyncio.create_task(Planning(Index(), notes).plan(operation, caller, C_GET, C_GET))
    done, _ = await asyncio.wait({planning}, timeout=0.05)
    assert not done
    notes.written.set_result(None)
    assert [one.sop_uid for one in await planning] == ["1.4", "1.5"]
    (record,) = notes.noted
    assert record["sop_uids"] == ["1.4", "1.5"]
    assert (record["study_uid"], record["partition"], record["operation"]) == ("1.2", "main", "C-GET")
