import pytest
from gantry_dicom.gate import admit
from gantry_dicom.refusals import Refused
from gantry_testing.builders import file_of, identified, with_other_bytes, with_other_meta
from gantry_testing.synthetic import RECIPES, generate_study, transfer_syntaxes
from gantry_testing.synthetic.mutations import mutations

MUTATIONS = list(mutations())


def verdict(data):
    try:
        return admit(data)
    except Refused as refused:
        return refused.reason


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[m.name for m in MUTATIONS])
def test_the_gate_gives_the_expected_verdict(mutation):
    found = verdict(mutation.data)
    if mutation.refusals:
        assert found in mutation.refusals
    else:
        assert found.sop_instance_uid == mutation.sop_uid
        assert found.study_instance_uid == mutation.study_uid


@pytest.mark.parametrize("kind", RECIPES)
def test_the_gate_admits_every_kind_as_it_is(kind):
    for uid in transfer_syntaxes(kind):
        frames = 2 if RECIPES[kind].multiframe else None
        size = (64, 72) if RECIPES[kind].plan else None
        (instance,) = generate_study(2, kind, transfer_syntax=uid, size=size, frames=frames)
        admission = verdict(instance.data)
        assert admission.meta is None
        assert admission.data_set_offset == instance.data_set_offset
        assert admission.transfer_syntax_uid == uid
        assert admission.warnings == ()


def test_a_conflict_and_a_duplicate_have_the_same_identity():
    (instance,) = generate_study(3, "MR", size=(32, 32))
    conflict, duplicate = with_other_bytes(instance), with_other_meta(instance)
    for other in (conflict, duplicate):
        assert verdict(other.data).sop_instance_uid == instance.sop_uid
        assert other.data != instance.data
    assert conflict.data_set != instance.data_set
    assert duplicate.data_set == instance.data_set


def test_a_file_built_by_hand_is_admitted():
    assert verdict(file_of(identified(7, PatientID="X"))).series_instance_uid
