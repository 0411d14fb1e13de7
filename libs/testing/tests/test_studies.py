import io
import itertools
import struct
import time

import numpy as np
import pydicom
import pytest
from gantry_testing.synthetic.codecs import decode_frame
from gantry_testing.synthetic.encoding import Layout, is_native
from gantry_testing.synthetic.identity import read_identity
from gantry_testing.synthetic.plans import SampleKind, native_frame
from gantry_testing.synthetic.recipes import RECIPES
from gantry_testing.synthetic.studies import (
    generate_priors,
    generate_study,
    make_series,
    make_study,
    stream_series,
    transfer_syntaxes,
)
from pydicom.encaps import generate_frames
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

ALL = [(kind, uid) for kind in RECIPES for uid in transfer_syntaxes(kind)]
SMALL = {"CR": (256, 272), "DX": (256, 272), "MG": (256, 320), "US": (256, 320), "US_CINE": (256, 272)}


def read(instance):
    ds = pydicom.dcmread(io.BytesIO(instance.data))
    # Decode every element now: a wrong VR or length would only show on access.
    ds.walk(lambda _, element: element.value)
    return ds


def frames_of(instance, ds):
    plan = instance.plan
    if not is_native(instance.transfer_syntax_uid):
        for data in generate_frames(ds.PixelData, number_of_frames=instance.frames):
            yield decode_frame(data, plan, instance.transfer_syntax_uid)
        return
    name = {SampleKind.FLOAT_32: "FloatPixelData", SampleKind.FLOAT_64: "DoubleFloatPixelData"}
    value = ds[name.get(plan.kind, "PixelData")].value
    little = instance.transfer_syntax_uid != ExplicitVRBigEndian
    if plan.kind is SampleKind.BIT:
        bits = np.unpackbits(np.frombuffer(value, np.uint8), bitorder="little")
        size = plan.rows * plan.columns
        for n in range(instance.frames):
            yield bits[n * size : (n + 1) * size].reshape(plan.rows, plan.columns)
        return
    size = plan.frame_bits // 8
    for n in range(instance.frames):
        yield native_frame(value[n * size : (n + 1) * size], plan, little_endian=little)


@pytest.mark.parametrize(("kind", "uid"), ALL, ids=[f"{k}-{UID(u).keyword}" for k, u in ALL])
def test_an_instance_is_read_by_pydicom_and_each_frame_says_who_it_is(kind, uid):
    frames = 3 if RECIPES[kind].multiframe else None
    (instance,) = generate_study(5, kind, transfer_syntax=uid, size=SMALL.get(kind), frames=frames)
    ds = read(instance)
    assert ds.file_meta.TransferSyntaxUID == uid
    assert (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID) == (
        instance.study_uid,
        instance.series_uid,
        instance.sop_uid,
    )
    assert (ds.SOPClassUID, ds.Modality) == (instance.sop_class_uid, instance.modality)
    assert str(ds.PatientName) == instance.patient.patient_name
    assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
    tags = [int(element.tag) for element in ds]
    assert tags == sorted(tags)
    assert len(instance.data) % 2 == 0
    if instance.plan is not None:
        read_back = [read_identity(f, lossy=instance.lossy) for f in frames_of(instance, ds)]
        assert read_back == [instance.identity(n) for n in range(1, instance.frames + 1)]


@pytest.mark.parametrize(
    "uid",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
def test_native_transfer_syntaxes_describe_the_same_data_set(uid):
    plain = read(generate_study(5, "CT", size=(64, 64))[0])
    other = read(generate_study(5, "CT", size=(64, 64), transfer_syntax=uid)[0])
    for element in plain:
        if element.keyword != "PixelData" and not element.tag.is_private:
            assert other[element.tag].value == element.value, element.keyword


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    assert generate_study(1, "MR", instances=3) == generate_study(1, "MR", instances=3)
    assert generate_study(1, "MR")[0].data != generate_study(2, "MR")[0].data


def test_a_stack_of_slices_has_rising_numbers_and_positions():
    slices = [read(instance) for instance in generate_study(3, "CT", instances=4, size=(64, 64))]
    assert [ds.InstanceNumber for ds in slices] == [1, 2, 3, 4]
    assert [ds.ImagePositionPatient[2] for ds in slices] == [-1, -2, -3, -4]
    assert [ds.SliceLocation for ds in slices] == [-1, -2, -3, -4]
    assert len({ds.SOPInstanceUID for ds in slices}) == 4


def test_priors_are_studies_of_one_patient():
    instances = generate_priors(9, "CR", studies=3, instances=1)
    assert len({i.study_uid for i in instances}) == 3
    assert len({i.patient for i in instances}) == 1


@pytest.mark.parametrize(
    ("table", "fragments"), [("basic", 1), ("basic", 3), ("empty", 1), ("empty", 3), ("extended", 1)]
)
def test_frames_are_found_whatever_the_offset_table(table, fragments):
    series = make_series(make_study(4))
    (instance,) = stream_series(
        series, "US_CINE", transfer_syntax=JPEGBaseline8Bit, frames=3, size=(256, 272),
        layout=Layout(table, fragments),
    )  # fmt: skip
    ds = read(instance)
    extended = (ds.get("ExtendedOffsetTable"), ds.get("ExtendedOffsetTableLengths"))
    found = generate_frames(
        ds.PixelData, number_of_frames=3, extended_offsets=extended if table == "extended" else None
    )
    decoded = [decode_frame(f, instance.plan, JPEGBaseline8Bit) for f in found]
    assert [read_identity(f, lossy=True).frame for f in decoded] == [1, 2, 3]


def test_a_kind_is_refused_in_a_transfer_syntax_that_cannot_carry_it():
    with pytest.raises(ValueError, match="cannot be made"):
        generate_study(1, "SEG", transfer_syntax=HTJ2KLossless)


def test_rle_has_a_header_of_64_bytes_and_even_segments():
    (instance,) = generate_study(1, "MR", transfer_syntax=RLELossless)
    ds = read(instance)
    frame = next(iter(generate_frames(ds.PixelData, number_of_frames=1)))
    count, *offsets = struct.unpack("<16L", frame[:64])
    assert count == 2
    assert all(offset % 2 == 0 for offset in offsets)


def test_a_ct_series_is_made_at_300_instances_a_second():
    series = make_series(make_study(6))
    instances = stream_series(series, "CT", instances=2000)
    for _ in itertools.islice(instances, 10):
        pass
    started = time.thread_time()
    made = sum(1 for _ in itertools.islice(instances, 200))
    # Processor time of this thread, so that a busy machine does not fail the test.
    assert made / (time.thread_time() - started) > 300
