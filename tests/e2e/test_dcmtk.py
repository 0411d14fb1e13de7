"""DCMTK's own programs against the listener."""

from __future__ import annotations

import os
import subprocess
from functools import partial

import pytest
from gantry_testing import datapack, packcases
from gantry_testing.packcases import Must
from gantry_testing.synthetic import RECIPES, generate_study, transfer_syntaxes
from gantry_testing.waiting import wait_for
from gantry_testing.web import uids
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

pytestmark = pytest.mark.dcmtk

# storescu's options by the transfer syntax they propose.
PROPOSALS = {
    ExplicitVRLittleEndian: "-xe",
    ExplicitVRBigEndian: "-xb",
    ImplicitVRLittleEndian: "-xi",
    DeflatedExplicitVRLittleEndian: "-xd",
    JPEGLosslessSV1: "-xs",
    JPEGBaseline8Bit: "-xy",
    JPEG2000Lossless: "-xv",
    JPEGLSLossless: "-xt",
    RLELossless: "-xr",
}


# "unknown storage SOP class, ignoring file", "no presentation context": storescu 3.6.7 does not send
# label map segmentations, private classes, and objects of retired classes or of no patient.
UNKNOWN_TO_DCMTK = {
    "1.2.840.10008.5.1.4.1.1.66.7",
    "2.25.152752519834663263826301420581341174218",
    "1.2.840.10008.5.1.4.1.1.6",
    "1.2.840.10008.5.1.4.38.1",
}


def run(program, *arguments):
    """Run one of DCMTK's programs and return what it printed; its exit code must be 0."""
    # Without it DCMTK waits for delayed acknowledgements between PDUs.
    environment = os.environ | {"TCP_NODELAY": "1"}
    done = subprocess.run(
        [program, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def storescu(dcmtk_program, stack, called_ae_title, proposal, files):
    peer = stack.peer_of(called_ae_title)
    return run(
        dcmtk_program("storescu"), "-v", "-nh", "-R", "-aet", "DCMTK", "-aec", peer.called_ae_title, proposal,
        peer.host, peer.port, *files,
    )  # fmt: skip


def test_echoscu_is_answered(stack, dcmtk_program):
    peer = stack.peer
    printed = run(dcmtk_program("echoscu"), "-v", "-aec", peer.called_ae_title, peer.host, peer.port)
    assert "Received Echo Response (Success)" in printed


@pytest.mark.parametrize("uid", PROPOSALS, ids=lambda uid: uid.keyword)
def test_storescu_stores_every_kind_in_each_syntax_it_proposes(stack, dcmtk_program, tmp_path, uid):
    instances = []
    for kind in RECIPES:
        if uid in transfer_syntaxes(kind):
            frames = 2 if RECIPES[kind].multiframe else None
            size = (256, 272) if RECIPES[kind].plan else None
            instances += generate_study(
                910_000 + list(PROPOSALS).index(uid), kind, transfer_syntax=uid, size=size, frames=frames
            )[:1]
    by_sop = {i.sop_uid: i for i in instances}
    files = []
    for n, instance in enumerate(by_sop.values()):
        files.append(tmp_path / f"{n}.dcm")
        files[-1].write_bytes(instance.data)
    storescu(dcmtk_program, stack, "GANTRY", PROPOSALS[uid], files)
    with stack.web() as web:
        for study_uid in {i.study_uid for i in instances}:
            wanted = {sop_uid for sop_uid, i in by_sop.items() if i.study_uid == study_uid}
            missing = partial(_missing, web, study_uid, wanted)
            wait_for(lambda missing=missing: not missing(), f"{len(wanted)} instances to be found")


def _missing(web, study_uid, wanted):
    return wanted - set(uids(web.search(f"/studies/{study_uid}/instances"), "00080018"))


def test_storescu_stores_the_good_files_of_the_pack_that_dcmtk_reads(stack, dcmtk_program):
    cases = [
        case
        for case in packcases.cases(datapack.files())
        if case.file.cls == "good"
        and case.must is Must.STORE
        and case.number == 0
        and case.file.entry.get("dcmtk") == "uids agree"
        and case.file.entry["transfer_syntax"] in PROPOSALS
        and case.file.entry["sop_class"] not in UNKNOWN_TO_DCMTK
    ]
    assert len(cases) > 250
    for uid, proposal in PROPOSALS.items():
        files = [case.file.path for case in cases if case.file.entry["transfer_syntax"] == uid]
        if files:
            storescu(dcmtk_program, stack, "DCMTK", proposal, files)
    with stack.web("dcmtk") as web:
        wanted = {case.entry_uids[2] for case in cases}
        wait_for(lambda: not wanted - _all_instances(web), "every instance to be found", 60)


def _all_instances(web):
    found = []
    while True:
        page = uids(web.search("/instances", limit=500, offset=len(found)), "00080018")
        found += page
        if len(page) < 500:
            return set(found)


def test_findscu_getscu_and_movescu_get_what_storescu_stored(stack, dcmtk_program, tmp_path, move_port):
    instances = generate_study(925_000, "CT", instances=3, transfer_syntax=JPEG2000Lossless)
    files = []
    for n, instance in enumerate(instances):
        files.append(tmp_path / f"{n}.dcm")
        files[-1].write_bytes(instance.data)
    storescu(dcmtk_program, stack, "GANTRY", PROPOSALS[JPEG2000Lossless], files)
    study_uid = instances[0].study_uid
    with stack.web() as web:
        missing = partial(_missing, web, study_uid, {instance.sop_uid for instance in instances})
        wait_for(lambda: not missing(), "the study to be found")
    peer = stack.peer
    common = ("-v", "-S", "-aec", peer.called_ae_title, "-k", f"StudyInstanceUID={study_uid}")
    printed = run(
        dcmtk_program("findscu"), *common, "-k", "QueryRetrieveLevel=STUDY", "-k",
        "NumberOfStudyRelatedInstances", peer.host, peer.port,
    )  # fmt: skip
    assert "[3 ]" in printed
    got, moved = tmp_path / "got", tmp_path / "moved"
    got.mkdir()
    moved.mkdir()
    # It takes no compressed CT unless told so: what it gets was decoded.
    run(dcmtk_program("getscu"), *common, "-k", "QueryRetrieveLevel=STUDY", "-od", got, peer.host, peer.port)
    assert len(list(got.iterdir())) == 3
    run(
        dcmtk_program("movescu"), *common, "-k", "QueryRetrieveLevel=STUDY", "-aem", "DEST", "+P", move_port,
        "-od", moved, peer.host, peer.port,
    )  # fmt: skip
    assert len(list(moved.iterdir())) == 3
    assert [file.name for file in sorted(got.iterdir())] == [file.name for file in sorted(moved.iterdir())]
