"""Data sets of storage commitment are read as they are sent, and hostile ones refused."""

import io

import pytest
from gantry.commitment.v1.commitment_pb2 import CommitmentFailure, CommitmentReport, InstanceReference
from gantry_dicom.errors import BadRequest, GantryError
from gantry_dicom.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
)
from gantry_ingest.commitment_data import read_request, write_report
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

SYNTAXES = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
UIDS = st.from_regex(r"1\.2(\.[1-9][0-9]{0,5}){1,8}", fullmatch=True)
PAIRS = st.lists(st.tuples(UIDS, UIDS), min_size=1, max_size=5)


def encoded(document, syntax):
    target = DicomBytesIO()
    target.is_little_endian, target.is_implicit_VR = True, syntax == IMPLICIT_VR_LITTLE_ENDIAN
    write_dataset(target, document)
    return target.getvalue()


def request(transaction_uid, pairs):
    document = Dataset()
    document.TransactionUID = transaction_uid
    document.ReferencedSOPSequence = []
    for sop_class_uid, sop_uid in pairs:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_uid
        document.ReferencedSOPSequence.append(item)
    return document


@given(UIDS, PAIRS, st.sampled_from(SYNTAXES))
def test_what_pydicom_writes_is_read(transaction_uid, pairs, syntax):
    data = encoded(request(transaction_uid, pairs), syntax)
    found, references = read_request(data, TRANSFER_SYNTAXES[syntax].encoding)
    assert found == transaction_uid
    assert [(r.sop_class_uid, r.sop_instance_uid) for r in references] == pairs


@given(UIDS, PAIRS, PAIRS, st.sampled_from(SYNTAXES))
def test_what_is_written_pydicom_reads(transaction_uid, good, bad, syntax):
    report = CommitmentReport(
        transaction_uid=transaction_uid,
        committed=[InstanceReference(sop_class_uid=c, sop_instance_uid=i) for c, i in good],
        failed=[
            CommitmentFailure(
                reference=InstanceReference(sop_class_uid=c, sop_instance_uid=i), failure_reason=0x0112
            )
            for c, i in bad
        ],
    )
    explicit = syntax == EXPLICIT_VR_LITTLE_ENDIAN
    data = write_report(report, explicit=explicit)
    found = read_dataset(io.BytesIO(data), is_implicit_VR=not explicit, is_little_endian=True)
    assert found.TransactionUID == transaction_uid
    committed = [(i.ReferencedSOPClassUID, i.ReferencedSOPInstanceUID) for i in found.ReferencedSOPSequence]
    failed = [
        (i.ReferencedSOPClassUID, i.ReferencedSOPInstanceUID, i.FailureReason)
        for i in found.FailedSOPSequence
    ]
    assert (committed, failed) == (good, [(*pair, 0x0112) for pair in bad])


@given(st.binary(max_size=200), st.sampled_from(SYNTAXES))
def test_octets_that_are_no_request_are_refused(data, syntax):
    with pytest.raises(GantryError):
        read_request(data, TRANSFER_SYNTAXES[syntax].encoding)


@given(st.integers(min_value=0), st.sampled_from(SYNTAXES))
def test_a_request_that_is_cut_off_is_refused_or_names_fewer(cut, syntax):
    data = encoded(request("1.2.3", [("1.2.4", "1.2.5")]), syntax)
    with pytest.raises(GantryError):
        read_request(data[: cut % len(data)], TRANSFER_SYNTAXES[syntax].encoding)


@pytest.mark.parametrize("missing", ["TransactionUID", "ReferencedSOPSequence"])
def test_what_has_to_be_there_is_asked_for(missing):
    document = request("1.2.3", [("1.2.4", "1.2.5")])
    delattr(document, missing)
    with pytest.raises(BadRequest):
        read_request(encoded(document, SYNTAXES[0]), TRANSFER_SYNTAXES[SYNTAXES[0]].encoding)
