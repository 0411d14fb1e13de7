"""New studies and instances are counted by modality and partition, once, and in bounded words."""

from __future__ import annotations

import uuid

from gantry_index.instruments import INSTANCES, STUDIES
from gantry_testing.index_records import index_record


def counted(partition, modality):
    labels = partition, modality
    return STUDIES.labels(*labels)._value.get(), INSTANCES.labels(*labels)._value.get()


async def test_what_is_new_is_counted_by_modality_and_what_comes_again_is_not(writer):
    partition = f"p{uuid.uuid4().hex[:8]}"
    first = [
        index_record(order=n, study="1.1", series="2.1", sop=f"1.1.{n}", modality="CT", partition=partition)
        for n in range(1, 4)
    ]
    await writer.index_chunk(first)
    assert counted(partition, "CT") == (1, 3)
    more = index_record(order=9, study="1.1", series="2.1", sop="1.1.9", modality="CT", partition=partition)
    other = index_record(order=10, study="1.2", series="2.2", sop="1.2.1", modality="MR", partition=partition)
    await writer.index_chunk([*first, more, other])
    assert counted(partition, "CT") == (1, 4)
    assert counted(partition, "MR") == (1, 1)


async def test_a_modality_that_is_no_defined_term_is_not_repeated(writer):
    partition = f"p{uuid.uuid4().hex[:8]}"
    await writer.index_chunk([index_record(modality="DOE^JANE", partition=partition)])
    assert counted(partition, "other") == (1, 1)
    assert not any("DOE" in sample.labels["modality"] for sample in STUDIES.collect()[0].samples)
