"""Synthetic studies of every kind, in every transfer syntax, there and back."""

from __future__ import annotations

import zlib
from dataclasses import replace

import pytest
from gantry_testing.builders import with_other_bytes, with_other_meta
from gantry_testing.dimse import Outgoing, store_all
from gantry_testing.synthetic import (
    RECIPES,
    Layout,
    generate_study,
    make_series,
    make_study,
    native_frame,
    read_identity,
    stream_series,
    transfer_syntaxes,
)
from gantry_testing.synthetic.codecs import LOSSY, decode_frame
from gantry_testing.synthetic.encoding import is_native
from gantry_testing.synthetic.mutations import mutations
from gantry_testing.waiting import wait_for
from gantry_testing.web import value
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
)

# Lossy frames need room for the code that says whose they are.
SIZE = (256, 272)
KINDS = [kind for kind in RECIPES if RECIPES[kind].plan is None or RECIPES[kind].plan.kind.name != "BIT"]
OCTETS = 'multipart/related; type="application/octet-stream"'

NEVER_SENT = {ImplicitVRLittleEndian, ExplicitVRBigEndian}


def made_in_every_syntax(kind, seed):
    recipe = RECIPES[kind]
    frames = 3 if recipe.multiframe else None
    for n, uid in enumerate(transfer_syntaxes(kind)):
        size = None if recipe.plan is None else (129, 131) if kind == "SEG" else SIZE
        yield from generate_study(seed, kind, number=n, transfer_syntax=uid, size=size, frames=frames)


def path_of(instance):
    return f"/studies/{instance.study_uid}/series/{instance.series_uid}/instances/{instance.sop_uid}"


def outgoing(instance):
    return Outgoing(instance.sop_class_uid, instance.sop_uid, instance.transfer_syntax_uid, instance.data_set)


@pytest.mark.parametrize("kind", RECIPES)
def test_every_kind_comes_back_in_every_syntax_with_each_frame_itself(stack, web, kind):
    instances = list(made_in_every_syntax(kind, 100 + list(RECIPES).index(kind)))
    answer = web.store([i.data for i in instances])
    assert answer.status == 200, answer.document
    assert set(answer.stored) == {i.sop_uid for i in instances}
    for instance in instances:
        assert stack.object_at_rest("main", instance.study_uid, instance.sop_uid) == instance.data
        given = web.retrieve_instance(instance.study_uid, instance.series_uid, instance.sop_uid)
        # PS3.18 8.7.3: these are given as Explicit VR Little Endian.
        assert (given == instance.data) == (instance.transfer_syntax_uid not in NEVER_SENT)
        for number in range(1, instance.frames + 1):
            check_frame(web, instance, number)


def check_frame(web, instance, number):
    plan, uid, path = instance.plan, instance.transfer_syntax_uid, path_of(instance)
    (stored,) = web.frames(path, number)
    if not is_native(uid):
        pixels = decode_frame(stored, plan, uid)
        assert read_identity(pixels, lossy=instance.lossy) == instance.identity(number)
    if uid in LOSSY:
        return
    # As Explicit VR Little Endian, colour by pixel where it was decompressed.
    (part,) = web.retrieve(f"{path}/frames/{number}", OCTETS)
    native = plan if is_native(uid) else replace(plan, planar=0)
    assert read_identity(native_frame(part.body, native)) == instance.identity(number)


def hash_of(*things):
    return zlib.crc32(repr(things).encode())


@pytest.mark.parametrize(
    ("table", "fragments"), [("basic", 1), ("basic", 3), ("empty", 1), ("empty", 4), ("extended", 1)]
)
@pytest.mark.parametrize("uid", [JPEGBaseline8Bit, JPEG2000Lossless], ids=["jpeg", "j2k"])
def test_each_frame_is_found_whatever_the_offset_table(web, table, fragments, uid):
    number = hash_of(table, fragments, uid)
    (instance,) = stream_series(
        make_series(make_study(200, number)),
        "US_CINE",
        transfer_syntax=uid,
        frames=5,
        size=SIZE,
        layout=Layout(table, fragments),
    )
    assert web.store([instance.data]).status == 200
    for number in (5, 1, 3, 2, 4):
        check_frame(web, instance, number)
    several = web.frames(path_of(instance), 4, 2)
    read = [read_identity(decode_frame(f, instance.plan, uid), lossy=instance.lossy).frame for f in several]
    assert read == [4, 2]


def test_c_store_keeps_every_kind_in_its_own_syntax(stack, web):
    instances = [i for kind in KINDS for i in made_in_every_syntax(kind, 300)]
    # One study a kind and syntax, so that nothing is the same instance twice.
    assert len({i.sop_uid for i in instances}) == len(instances)
    assert set(store_all(stack.peer, [outgoing(i) for i in instances])) == {0}
    last = instances[-1]
    wait_for(lambda: web.search(f"/studies/{last.study_uid}/instances"), "the last instance to be indexed")
    for instance in instances:
        kept = stack.object_at_rest("main", instance.study_uid, instance.sop_uid)
        assert kept.endswith(instance.data_set)
        (found,) = web.search(f"/studies/{instance.study_uid}/instances", SOPInstanceUID=instance.sop_uid)
        assert value(found, "00080016") == instance.sop_class_uid


@pytest.mark.parametrize("mutation", list(mutations(seed=4)), ids=lambda mutation: mutation.name)
def test_a_broken_part_is_judged_alone(stack, web, mutation):
    before, after = generate_study(hash_of(mutation.name), "SC", instances=2)
    answer = web.store([before.data, mutation.data, after.data])
    assert {before.sop_uid, after.sop_uid} <= set(answer.stored)
    if mutation.refusals:
        failures = [*answer.failed.values(), *answer.other_failures]
        assert len(failures) == 1
        assert failures[0] in [refusal.failure_reason for refusal in mutation.refusals]
        assert answer.status == 202
        assert web.search("/instances", SOPInstanceUID=mutation.sop_uid) == []
    else:
        assert mutation.sop_uid in answer.stored, answer.document
        (found,) = web.search("/instances", SOPInstanceUID=mutation.sop_uid)
        kept = stack.object_at_rest("main", value(found, "0020000D"), mutation.sop_uid)
        assert kept.endswith(mutation.data) or mutation.data[mutation.data.find(b"DICM") :][300:] in kept
        (document,) = web.metadata(f"/studies/{mutation.study_uid}")
        assert value(document, "00080018") == mutation.sop_uid


def test_what_was_acknowledged_is_found_at_once(web):
    for n in range(10):
        instances = generate_study(500, "SC", number=n, instances=3)
        assert web.store([i.data for i in instances]).status == 200
        (study,) = web.search("/studies", StudyInstanceUID=instances[0].study_uid)
        assert value(study, "00201208") == 3
        assert len(web.search(f"/studies/{instances[0].study_uid}/instances")) == 3


def test_the_same_instance_again_changes_nothing(web):
    (instance,) = generate_study(501, "MR", size=(32, 32))
    again = with_other_meta(instance)
    for data in (instance.data, again.data, instance.data):
        assert web.store([data]).status == 200
    assert web.retrieve_instance(instance.study_uid, instance.series_uid, instance.sop_uid) == instance.data
    (study,) = web.search("/studies", StudyInstanceUID=instance.study_uid)
    assert value(study, "00201208") == 1


def test_other_bytes_under_the_same_uid_do_not_replace_the_first(web):
    (instance,) = generate_study(502, "MR", size=(32, 32))
    other = with_other_bytes(instance)
    assert web.store([instance.data]).status == 200
    answer = web.store([other.data])
    assert answer.status == 202
    # Stored, with the warning that another version is the current one.
    assert value(answer.stored[instance.sop_uid], "00081196") is not None
    assert web.retrieve_instance(instance.study_uid, instance.series_uid, instance.sop_uid) == instance.data
