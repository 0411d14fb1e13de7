"""Received parts in memory and on disk."""

import os
import tracemalloc
from pathlib import Path

import pytest
from gantry_dicom.errors import OutOfResources
from gantry_reception.settings import SpoolSettings
from gantry_reception.spool import STEP_BYTES, Spool
from hypothesis import given
from hypothesis import strategies as st

MEBIBYTE = 1 << 20


@given(
    chunks=st.lists(st.binary(max_size=3000), max_size=20),
    limit=st.integers(0, 20_000),
    expected=st.integers(0, 40_000),
)
def test_a_part_gives_back_what_was_written(chunks: list[bytes], limit: int, expected: int) -> None:
    spool = Spool(SpoolSettings(part_memory_bytes=limit))
    with spool.part(expected) as part:
        for chunk in chunks:
            part.write(chunk)
        assert part.size == sum(map(len, chunks))
        assert bytes(part.buffer()) == b"".join(chunks)
        assert part.buffer()[:10] == b"".join(chunks)[:10]
    assert spool.memory.used == spool.disk.used == 0


def test_a_large_part_needs_no_memory_and_leaves_no_file(tmp_path: Path) -> None:
    spool = Spool(SpoolSettings(folder=str(tmp_path)))
    chunk = os.urandom(MEBIBYTE)
    tracemalloc.start()
    with spool.part() as part:
        for _ in range(100):
            part.write(chunk)
        buffer = part.buffer()
        assert len(buffer) == 100 * MEBIBYTE
        assert bytes(buffer[99 * MEBIBYTE :]) == chunk
        assert spool.memory.used == 0
        assert spool.disk.used == 100 * MEBIBYTE
        assert list(tmp_path.iterdir()) == []
        _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * MEBIBYTE


def test_parts_are_refused_when_the_memory_is_given_out_and_taken_again_when_it_is_back() -> None:
    spool = Spool(SpoolSettings(memory_bytes=4 * STEP_BYTES))
    first, second = spool.part(), spool.part()
    first.write(bytes(3 * STEP_BYTES))
    second.write(bytes(STEP_BYTES))
    with pytest.raises(OutOfResources):
        second.write(b"x")
    first.close()
    second.write(b"x")
    assert part_bytes(second) == STEP_BYTES + 1
    second.close()
    assert spool.memory.used == 0


def part_bytes(part) -> int:
    return len(part.buffer())


def test_an_announced_part_without_room_is_refused_before_its_first_byte() -> None:
    spool = Spool(
        SpoolSettings(memory_bytes=STEP_BYTES, disk_bytes=10 * STEP_BYTES, part_memory_bytes=STEP_BYTES)
    )
    with pytest.raises(OutOfResources):
        spool.part(expected=11 * STEP_BYTES)
    assert spool.memory.used == spool.disk.used == 0


def test_a_part_that_outgrows_the_disk_is_refused() -> None:
    spool = Spool(SpoolSettings(part_memory_bytes=0, disk_bytes=2 * STEP_BYTES))
    with spool.part() as part:
        part.write(bytes(2 * STEP_BYTES))
        with pytest.raises(OutOfResources):
            part.write(b"x")
    assert spool.disk.used == 0


def test_a_folder_that_cannot_be_written_refuses_the_part(tmp_path: Path) -> None:
    spool = Spool(SpoolSettings(part_memory_bytes=0, folder=str(tmp_path / "missing")))
    with spool.part() as part, pytest.raises(OutOfResources):
        part.write(b"x")
    assert spool.disk.used == spool.memory.used == 0


@pytest.mark.parametrize("limit", [0, MEBIBYTE])
def test_whoever_still_reads_a_closed_part_keeps_its_bytes(limit: int) -> None:
    part = Spool(SpoolSettings(part_memory_bytes=limit)).part()
    part.write(b"still here")
    view = memoryview(part.buffer())[6:]
    part.close()
    part.close()
    assert bytes(view) == b"here"
