"""Every file of the shared pack through the whole archive, by STOW-RS and by C-STORE."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pydicom
import pytest
from gantry_dicom.part10 import parse_meta
from gantry_testing import datapack, packcases
from gantry_testing.auditor import Answer, SentInstance, Target, audit_now, content_of, data_set_start
from gantry_testing.dimse import CONTEXT_NOT_ACCEPTED, SUCCESS, Outgoing, store_all
from gantry_testing.packcases import Must
from gantry_testing.stack import SEAL_KEYS
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for
from gantry_testing.web import items, value

# Native, and compressed without loss: what frames must equal the manifest's hashes.
NATIVE = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"}
# PS3.18 8.7.3: web services give them as Explicit VR Little Endian.
NEVER_SENT = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.2"}
LOSSLESS = {
    "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.5",
}  # fmt: skip
# PS3.4 B.2.3: the archive found the instance by a Study or Series UID that it assigned.
STORED = (SUCCESS, 0xB000)
OCTETS = 'multipart/related; type="application/octet-stream"'

CASES = packcases.cases(datapack.files()) if datapack.locate() else []
if not CASES:
    datapack.require()


@dataclass
class Sent:
    """What became of one file on one way in."""

    case: packcases.Case
    partition: str
    stored: bool
    reason: int | None = None
    note: str = ""


@dataclass
class Outcome:
    """Everything that was sent, and what the counts at the end are made of."""

    stow: dict[str, Sent] = field(default_factory=dict)
    dimse: dict[str, Sent] = field(default_factory=dict)
    neighbours: list[SentInstance] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)


@pytest.fixture(scope="module")
def outcome(stack):
    """Send the whole pack both ways, and wait until all that was acknowledged is searchable."""
    found = Outcome()
    by_partition: dict[int, list[packcases.Case]] = {}
    for case in CASES:
        by_partition.setdefault(case.number, []).append(case)
    for number, cases in by_partition.items():
        with stack.web(f"stow-{number}") as web:
            whole = [case for case in cases if case.must is Must.STORE]
            for start in range(0, len(whole), 16):
                _stow_whole(web, number, whole[start : start + 16], found)
            for case in cases:
                if case.must is not Must.STORE:
                    _stow_between_neighbours(web, number, case, found)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda pair: _c_store(stack, *pair, found), by_partition.items()))
    acknowledged = sum(sent.stored for sent in (*found.stow.values(), *found.dimse.values()))
    stack.wait_indexed(acknowledged + len(found.neighbours), seconds=120)
    return found


def _stow_whole(web, number, cases, found):
    answer = web.store([case.file.read() for case in cases])
    for case in cases:
        sop_uid = case.entry_uids[2]
        found.stow[case.file.name] = Sent(
            case, f"stow-{number}", sop_uid in answer.stored, answer.failed.get(sop_uid), str(answer.status)
        )


def _stow_between_neighbours(web, number, case, found):
    """Send a file that is or may be refused between two good ones, which must be stored."""
    seed = 700_000 + CASES.index(case)
    neighbours = generate_study(seed, "SC", instances=2)
    answer = web.store([neighbours[0].data, case.file.read(), neighbours[1].data])
    stored = set(answer.stored)
    assert {n.sop_uid for n in neighbours} <= stored, f"the neighbours of {case.file} were not stored"
    partition = f"stow-{number}"
    found.neighbours += [_sent(partition, n.data, (n.study_uid, n.series_uid, n.sop_uid)) for n in neighbours]
    others = set(answer.stored) - {n.sop_uid for n in neighbours}
    failures = [*answer.failed.values(), *answer.other_failures]
    assert len(others) + len(failures) == 1, f"{case.file}: {answer.document}"
    found.stow[case.file.name] = Sent(
        case, partition, bool(others), failures[0] if failures else None, str(answer.status)
    )


def _c_store(stack, number, cases, found):
    sendable = [case for case in cases if _can_be_announced(case)]
    outgoing = []
    for case in sendable:
        data, entry = case.file.read(), case.file.entry
        outgoing.append(
            Outgoing(
                entry["sop_class"], entry["sop_uid"], entry["transfer_syntax"], data[data_set_start(data) :]
            )
        )
    statuses = store_all(stack.peer_of(f"PACK{number}"), outgoing)
    for case, status in zip(sendable, statuses, strict=True):
        found.dimse[case.file.name] = Sent(
            case,
            f"dimse-{number}",
            status in STORED,
            status,
            "no answer" if status is None else f"{status:04X}",
        )


def _can_be_announced(case):
    """Tell whether a C-STORE request can be made at all: it names SOP class, instance and transfer syntax."""
    entry = case.file.entry
    return bool(entry.get("sop_class") and entry.get("sop_uid") and entry.get("transfer_syntax"))


def _sent(partition, data, uids, answer=Answer.ACKNOWLEDGED, whole=True):
    content = content_of(data)
    return SentInstance(
        partition, *uids, content.data_set_sha256, answer, content.file_sha256 if whole else None
    )


def path_of(case):
    study, series, sop = case.entry_uids
    return f"/studies/{study}/series/{series}/instances/{sop}"


def data_set(data):
    return data[data_set_start(data) :]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file.name)
def test_a_file_of_the_pack_through_stow_rs(stack, outcome, case):
    sent = outcome.stow[case.file.name]
    _check_verdict(sent, [reason.failure_reason for reason in case.reasons])
    outcome.counts[f"{case.file.cls} {'stored' if sent.stored else 'refused'} by STOW-RS"] += 1
    with stack.web(sent.partition) as web:
        if not sent.stored:
            _check_absent(web, case)
            return
        if not packcases.understood(case.file):
            outcome.counts["odd files stored whose UIDs the manifest's readers do not agree on"] += 1
            return
        _check_found(web, case)
        data, back = case.file.read(), _at_rest(stack, sent)
        if case.file.cls == "good" or back == data:
            assert back == data, "not byte for byte"
            outcome.counts["whole files byte for byte"] += 1
        else:
            # An incomplete or untrue File Meta group is replaced; the data set is not touched.
            assert data_set(back) == data_set(data)
            outcome.counts["files with a new File Meta group"] += 1
        _check_metadata(web, case)
        _check_frames(web, case, outcome)


@pytest.mark.parametrize("case", [c for c in CASES if _can_be_announced(c)], ids=lambda case: case.file.name)
def test_a_file_of_the_pack_through_c_store(stack, outcome, case):
    sent = outcome.dimse[case.file.name]
    assert sent.reason is not None, "the association ended without an answer"
    if sent.reason == CONTEXT_NOT_ACCEPTED:
        assert case.file.cls != "good", "the presentation context was not accepted"
        outcome.counts["contexts not accepted"] += 1
        return
    _check_verdict(sent, [reason.dimse_status for reason in case.reasons])
    outcome.counts[f"{case.file.cls} {'stored' if sent.stored else 'refused'} by C-STORE"] += 1
    with stack.web(sent.partition) as web:
        if not sent.stored:
            _check_absent(web, case)
            return
        if not packcases.understood(case.file):
            outcome.counts["odd files stored whose UIDs the manifest's readers do not agree on"] += 1
            return
        _check_found(web, case)
        assert data_set(_at_rest(stack, sent)) == data_set(case.file.read())
        outcome.counts["identical data sets"] += 1


def test_the_auditor_finds_nothing_wrong_after_the_whole_pack(stack, outcome):
    sent = list(outcome.neighbours)
    for way, whole in ((outcome.stow, True), (outcome.dimse, False)):
        for item in way.values():
            case = item.case
            if not _auditable(case.file) or (not whole and item.reason == CONTEXT_NOT_ACCEPTED):
                continue
            unanswered = not whole and item.reason is None
            answer = Answer.ACKNOWLEDGED if item.stored else Answer.REFUSED
            answer = Answer.UNANSWERED if unanswered else answer
            exact = whole and case.file.cls == "good"
            sent.append(_sent(item.partition, case.file.read(), case.entry_uids, answer, exact))
    # Batches close after ten seconds; until then their manifests are not written.
    wait_for(lambda: not _journal(stack), "every batch to be closed and its journal entry gone", 90)
    target = Target(stack.store_url, SEAL_KEYS, stack.index_dsn, stack.health_url("gateway"))
    report = audit_now(sent, target)
    assert report.ok, str(report)


def _auditable(file):
    return packcases.identified(file) and packcases.understood(file)


def _journal(stack):
    return [path for path in (stack.folder / "objects" / "j").rglob("*") if path.is_file()]


def test_the_counts_of_the_pack(outcome, capsys):
    good = [case for case in CASES if case.file.cls == "good"]
    storable = [case for case in good if case.must is Must.STORE]
    lines = [f"  {count:5d} {name}" for name, count in sorted(outcome.counts.items())]
    lines.append(
        f"  {len(good) - len(storable):5d} good files that are no instance (DICOMDIR, UID missing or illegal)"
    )
    with capsys.disabled():
        print("\nThe shared pack, end to end:", *lines, sep="\n")  # noqa: T201 - what the run is asked for
    assert sum(outcome.stow[case.file.name].stored for case in storable) == len(storable)
    announced = [case for case in storable if _can_be_announced(case)]
    assert sum(outcome.dimse[case.file.name].stored for case in announced) == len(announced)


def _at_rest(stack, sent):
    """Return the object as it lies in the store; what is given of it is the same where that may be sent."""
    study, series, sop = sent.case.entry_uids
    kept = stack.object_at_rest(sent.partition, study, sop)
    with stack.web(sent.partition) as web:
        given = web.retrieve_instance(study, series, sop)
    if _transfer_syntax(kept) in NEVER_SENT:
        assert _transfer_syntax(given) == "1.2.840.10008.1.2.1"
    else:
        assert given == kept
    return kept


def _transfer_syntax(data):
    return parse_meta(data).text(0x00020010)


def _check_verdict(sent, reasons):
    case = sent.case
    if case.must is Must.STORE:
        assert sent.stored, f"refused with {sent.reason} ({sent.note})"
    elif case.must is Must.REFUSE:
        assert not sent.stored, "stored"
        assert not reasons or sent.reason in reasons, f"refused with {sent.reason:#06x}, not one of {reasons}"


def _check_absent(web, case):
    study, _, sop = case.entry_uids
    if _auditable(case.file):
        # The study may be there: others of the pack belong to it.
        assert web.search(f"/studies/{study}/instances", SOPInstanceUID=sop) == []
        assert web.get(path_of(case)).status_code == 404


def _check_found(web, case):
    study, series, sop = case.entry_uids
    (found,) = web.search("/studies", StudyInstanceUID=study)
    assert value(found, "0020000D") == study
    assert value(found, "00201208") >= 1
    (found,) = web.search(f"/studies/{study}/series", SeriesInstanceUID=series)
    assert value(found, "0020000E") == series
    (found,) = web.search(f"/studies/{study}/series/{series}/instances", SOPInstanceUID=sop)
    assert value(found, "00080018") == sop
    assert value(found, "00080016") == case.file.entry["sop_class"]


def _check_metadata(web, case):
    """Every element of the data set is in the metadata, and the patient's name is read rightly."""
    (document,) = web.metadata(path_of(case))
    for tag in _tags(case) - {"00080005"}:
        assert tag in document, f"{tag} is missing from the metadata"
    # JSON is UTF-8: what it says of its character set must be true, or left unsaid (PS3.18 F.2).
    assert value(document, "00080005") in {None, "ISO_IR 192"}
    assert value(document, "00080018") == case.entry_uids[2]
    name = case.file.entry.get("patient_name")
    if name is not None:
        groups = value(document, "00100010") or {}
        parts = [groups.get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic")]
        assert "=".join(parts).rstrip("=") == name.strip(" ").rstrip("=")
    assert not items(document, "00020010")


def _tags(case):
    """Return the top-level tags that metadata must have, by pydicom; none for what pydicom cannot read."""
    if not str(case.file.entry.get("pydicom", "")).startswith("ok"):
        return set()
    ds = pydicom.dcmread(io.BytesIO(case.file.read()), force=True)
    # Group lengths are retired (PS3.5 7.2), the trailing padding says nothing (PS3.10 7.2).
    tags = ds._dict  # raw: one element that pydicom cannot decode must not hide the others
    return {f"{int(tag):08X}" for tag in tags if tag.element != 0 and tag.group not in {2, 0xFFFC}}


def _check_frames(web, case, outcome):
    entry = case.file.entry
    pixels, syntax = entry.get("pixels") or {}, entry.get("transfer_syntax")
    hashes = pixels.get("frames_sha256")
    if not hashes or syntax not in NATIVE | LOSSLESS or case.file.cls != "good":
        return
    count = int(entry["image"]["frames"])
    numbers = range(1, count + 1) if len(hashes) == count else [*range(1, 5), count - 1, count]
    for number, expected in zip(numbers, hashes, strict=True):
        (part,) = web.retrieve(f"{path_of(case)}/frames/{number}", OCTETS)
        assert hashlib.sha256(_normal(part.body, entry)).hexdigest() == expected, f"frame {number}"
        outcome.counts[f"frames equal to their hash ({'native' if syntax in NATIVE else 'lossless'})"] += 1


def _normal(frame, entry):
    """Return a frame's bytes as the manifest hashes them: one byte a 1-bit pixel."""
    image = entry["image"]
    if image["bits_allocated"] == 1:
        bits = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")
        return bits[: image["rows"] * image["cols"]].tobytes()
    return frame
