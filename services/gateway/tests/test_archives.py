"""Zip archives over HTTP against the whole archive (W42), and the stream itself."""

import io
import zipfile

import pytest
from gantry_gateway.outgoing import Made
from gantry_gateway.zip_stream import zip_stream
from gantry_testing.synthetic import make_series, make_study, stream_series
from pydicom import dcmread
from pydicom.fileset import FileSet

RLE = "1.2.840.10008.1.2.5"
SIZE = (64, 72)


@pytest.fixture(scope="module")
def study(web):
    """A study of two series, one of them a report."""
    made = make_study(4201)
    instances = [
        *stream_series(make_series(made), "CT", instances=3, transfer_syntax=RLE, size=SIZE),
        *stream_series(make_series(made, 2), "SR"),
    ]
    assert web.store([instance.data for instance in instances]).status == 200
    return instances


def test_an_archive_with_a_dicomdir_is_a_file_set(web, study, tmp_path):
    path = f"/studies/{study[0].study_uid}?dicomdir=true"
    answer = web.checked(web.get(path, "application/zip; transfer-syntax=*"))
    assert answer.headers["content-disposition"] == f'attachment; filename="{study[0].study_uid}.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path)
    found = FileSet(tmp_path / "DICOMDIR")
    assert [one.SOPInstanceUID for one in found] == [one.sop_uid for one in study]
    assert {one.ReferencedTransferSyntaxUIDInFile for one in found} == {RLE, "1.2.840.10008.1.2.1"}
    for one, instance in zip(found, study, strict=True):
        assert (tmp_path / one.path).read_bytes() == instance.data


def test_the_same_study_gives_the_same_archive(web, study):
    path = f"/studies/{study[0].study_uid}?dicomdir=true"
    first, second = (web.get(path, "application/zip").content for _ in range(2))
    assert first == second


def test_a_series_and_an_instance_are_archives_too(web, study):
    series = f"/studies/{study[0].study_uid}/series/{study[0].series_uid}"
    for path, count in ((series, 3), (f"{series}/instances/{study[0].sop_uid}", 1)):
        with zipfile.ZipFile(io.BytesIO(web.checked(web.get(path, "application/zip")).content)) as archive:
            assert len(archive.namelist()) == count
            for name in archive.namelist():
                assert dcmread(archive.open(name)).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"


def test_a_dicomdir_is_wished_for_or_not(web, study):
    answer = web.get(f"/studies/{study[0].study_uid}?dicomdir=perhaps", "application/zip")
    assert answer.status_code == 400


async def test_files_come_whole_or_in_pieces_and_are_read_back():
    async def pieces():
        yield b"one"
        yield b"two"

    async def files():
        yield Made(b"whole", "application/dicom")
        yield Made(pieces(), "application/dicom")

    body = b"".join([chunk async for chunk in zip_stream(["a", "b/c"], files())])
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {"a": b"whole", "b/c": b"onetwo"}
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
