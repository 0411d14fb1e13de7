"""The admission gate over the shared pack of real, odd, broken and hostile files."""

from __future__ import annotations

import pytest
from gantry_dicom.gate import (
    Admission,
    GateLimits,
    Refused,
    admit,
    admit_data_set,
    header_from_prefix,
    header_of,
)
from gantry_dicom.header import header_from_parts
from gantry_dicom.transfer_syntaxes import lookup
from gantry_testing import datapack

# What cannot be stored although its class is "good" or "odd", and the reason given: an archive
# keeps instances of studies and series, so an object without their UIDs has no place in it.
REFUSED = {
    "charset/chrSQEncoding.dcm": "missing-uid",
    "charset/chrSQEncoding1.dcm": "missing-uid",
    "dicomdir/DICOMDIR": "dicomdir",
    "dicomdir/DICOMDIR-bigEnd": "dicomdir",
    "dicomdir/DICOMDIR-empty.dcm": "dicomdir",
    "dicomdir/DICOMDIR-implicit": "dicomdir",
    "dicomdir/DICOMDIR-nooffset": "dicomdir",
    "dicomdir/DICOMDIR-nopatient": "dicomdir",
    "dicomdir/DICOMDIR-reordered": "dicomdir",
    "fo-dicom/GH340.dcm": "missing-uid",
    # An item tag without its sequence: what follows cannot be read.
    "fo-dicom/GH364.dcm": "malformed",
    # Explicit VR items inside an Implicit VR data set, and no study.
    "fo-dicom/GH626.dcm": "truncated",
    "pydicom-data/JLSL_RGB_ILV0.dcm": "missing-uid",
    "pydicom-data/JLSL_RGB_ILV1.dcm": "missing-uid",
    "pydicom-data/JLSL_RGB_ILV2.dcm": "missing-uid",
    "pydicom-data/JLSN_RGB_ILV0.dcm": "missing-uid",
    # Hexadecimal digests where the UIDs belong.
    "pydicom-data/bad_sequence.dcm": "illegal-sop-instance-uid",
    "pydicom/UN_sequence.dcm": "missing-uid",
    "pydicom/empty_charset_LEI.dcm": "missing-uid",
    "pydicom/meta_missing_tsyntax.dcm": "missing-uid",
    "pydicom/nested_priv_SQ.dcm": "missing-uid",
    "pydicom/no_meta_group_length.dcm": "missing-uid",
    "pydicom/priv_SQ.dcm": "missing-uid",
    # A SOP Instance UID of 67 characters.
    "weasis/jpeg2000-multiframe-multifragments.dcm": "illegal-sop-instance-uid",
}

# Broken files: the reason where the pack (or the gate's own rule) asks for refusal.
BROKEN_REFUSED = {
    "made/broken/deep_nesting.dcm": "nested-too-deeply",
    "made/broken/deflate_bomb.dcm": "inflates-too-large",
    "made/broken/deflate_garbage.dcm": "deflate-damaged",
    "made/broken/deflate_truncated.dcm": "deflate-damaged",
    "made/broken/element_length_65535.dcm": "truncated",
    "made/broken/empty.dcm": "not-dicom",
    "made/broken/encaps_no_delimiter.dcm": "not-terminated",
    "made/broken/encaps_truncated.dcm": "not-terminated",
    "made/broken/garbage.dcm": "not-dicom",
    "made/broken/garbage_after_dicm.dcm": "not-dicom",
    "made/broken/item_longer_than_sq.dcm": "truncated",
    "made/broken/no_sop_class_uid.dcm": "missing-uid",
    "made/broken/no_sop_instance_uid.dcm": "missing-uid",
    "made/broken/only_preamble.dcm": "not-dicom",
    "made/broken/pixel_length_2gb.dcm": "truncated",
    "made/broken/png.dcm": "not-dicom",
    "made/broken/sq_never_closed.dcm": "malformed",
    "made/broken/text.dcm": "not-dicom",
    "made/broken/truncated_header.dcm": "truncated",
    "made/broken/truncated_in_meta.dcm": "malformed",
    "made/broken/truncated_pixels.dcm": "truncated",
    "made/hostile/uid_path.dcm": "illegal-uid",
    "pydicom-data/emri_small_jpeg_2k_lossless_too_short.dcm": "not-terminated",
    "pydicom/MR_truncated.dcm": "truncated",
    "pydicom/no_meta.dcm": "not-dicom",
    "pydicom/rtplan_truncated.dcm": "truncated",
}

# Files whose stated transfer syntax is not what the data set is in, and the true one.
CORRECTED = {
    "dcmjs/sample-op.dcm": "1.2.840.10008.1.2.4.50",
    "made/broken/ts_label_implicit_data_explicit.dcm": "1.2.840.10008.1.2.1",
    "made/broken/wrong_ts_label.dcm": "1.2.840.10008.1.2.4.91",
}

FILES = datapack.files()
LIMITS = GateLimits(max_inflated_bytes=64 * 1024 * 1024)


def stored_object(data: bytes, admission: Admission) -> bytes:
    return data if admission.meta is None else admission.meta + data[admission.data_set_offset :]


@pytest.mark.parametrize("file", FILES, ids=str)
def test_each_file_of_the_pack_is_admitted_or_refused_with_its_reason(file: datapack.DataFile) -> None:
    data = file.read()
    reason = REFUSED.get(file.name) or BROKEN_REFUSED.get(file.name)
    if reason is not None:
        with pytest.raises(Refused) as refused:
            admit(data, limits=LIMITS)
        assert refused.value.reason.reason == reason
        return
    assert not str(file.entry.get("expect") or "").startswith("reject ("), "the pack wants it refused"
    admission = admit(data, limits=LIMITS)

    assert admission.sop_class_uid == file.entry["sop_class"]
    assert admission.sop_instance_uid == file.entry["sop_uid"].strip()
    assert (
        admission.series_instance_uid == (file.entry["series_uid"] or admission.series_instance_uid).strip()
    )
    assert admission.study_instance_uid == (file.entry["study_uid"] or admission.study_instance_uid).strip()
    stated = file.entry["transfer_syntax"]
    assert admission.transfer_syntax_uid == CORRECTED.get(file.name, stated or admission.transfer_syntax_uid)
    if file.cls == "good":
        assert admission.meta is None, "a good file is stored and returned byte for byte"


@pytest.mark.parametrize(
    "file", [file for file in FILES if file.name not in {**REFUSED, **BROKEN_REFUSED}], ids=str
)
def test_what_is_stored_admits_again_unchanged_and_its_header_can_be_rebuilt(file: datapack.DataFile) -> None:
    data = file.read()
    admission = admit(data)
    stored = stored_object(data, admission)
    assert stored[admission.meta_length :] == data[admission.data_set_offset :]

    again = admit(stored)
    assert again.meta is None
    assert again.frame_table == admission.frame_table
    assert again.transfer_syntax_uid == admission.transfer_syntax_uid
    assert header_of(stored) == (admission.header, admission.frame_table)

    header = admission.header
    assert (
        header_from_parts(
            header.before_pixel_data,
            header.after_pixel_data,
            admission.frame_table,
            admission.transfer_syntax_uid,
            admission.meta_length,
        )
        == header
    )
    if not header.deflated:
        end = header.before_offset + len(header.before_pixel_data)
        assert stored[header.before_offset : end] == header.before_pixel_data
        assert stored[header.after_offset :] == header.after_pixel_data
    prefix_length = header.pixel_data_offset + 64
    from_prefix = header_from_prefix(stored[:prefix_length], len(stored))
    assert from_prefix in (None, (header, admission.frame_table))
    native = header.pixel_data_tag is not None and not header.encapsulated and not header.deflated
    syntax = lookup(admission.transfer_syntax_uid)
    if native and not header.after_pixel_data and syntax is not None:
        assert from_prefix is not None


@pytest.mark.parametrize("file", datapack.files("good"), ids=str)
def test_a_good_data_set_sent_by_c_store_gets_a_file_meta_that_is_true(file: datapack.DataFile) -> None:
    if file.name in REFUSED:
        pytest.skip("refused by name in the test above")
    data = file.read()
    as_file = admit(data)
    data_set = data[as_file.data_set_offset :]
    admission = admit_data_set(data_set, as_file.transfer_syntax_uid, source_ae_title="MODALITY")
    assert admission.meta is not None
    assert admission.data_set_offset == 0
    stored = admission.meta + data_set
    again = admit(stored)
    assert again.meta is None
    assert again.frame_table == admission.frame_table
    assert again.transfer_syntax_uid == as_file.transfer_syntax_uid
