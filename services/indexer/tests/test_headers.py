"""Headers read again from stored objects: the same as the receiver's, from as few bytes as will do."""

from __future__ import annotations

import hashlib

import pytest
from gantry.index.v1.index_pb2 import Header, IndexRequest, PixelLayout
from gantry.reception.v1.reception_pb2 import Outcome, Reception
from gantry_dicom.encoder_memo import EncoderMemo
from gantry_dicom.gate import Refused, admit
from gantry_indexer.derivation import derive_one
from gantry_indexer.faults import no_fault
from gantry_indexer.headers import PREFIX_BYTES, Material, header_in_message, read_material
from gantry_objectstore.keys import new_batch_id, object_key
from gantry_objectstore.store import open_store
from gantry_testing.builders import file_of, identified
from gantry_testing.synthetic.demo import demo_patient


class Counting:
    """A store that counts the bytes it gives out."""

    def __init__(self, inner):
        self.inner = inner
        self.read = 0

    async def get(self, key):
        return self._count(await self.inner.get(key))

    async def get_prefix(self, key, length):
        return self._count(await self.inner.get_prefix(key, length))

    async def head(self, key):
        return await self.inner.head(key)

    def _count(self, data):
        self.read += len(data)
        return data


def request_for(data, key, batch):
    admission = admit(data)
    reception = Reception(
        object_key=key,
        batch=batch,
        ordinal=1,
        size=len(data),
        meta_length=admission.meta_length,
        data_set_digest=hashlib.sha256(data[admission.data_set_offset :]).digest(),
        meta_digest=hashlib.sha256(data[: admission.data_set_offset]).digest(),
        transfer_syntax_uid=admission.transfer_syntax_uid,
        sop_class_uid=admission.sop_class_uid,
        study_instance_uid=admission.study_instance_uid,
        series_instance_uid=admission.series_instance_uid,
        sop_instance_uid=admission.sop_instance_uid,
        outcome=Outcome.OUTCOME_ACKNOWLEDGED,
    )
    header = Header(
        before_pixel_data=admission.header.before_pixel_data,
        after_pixel_data=admission.header.after_pixel_data,
        pixel_layout=PixelLayout(frame_table=admission.frame_table),
    )
    return IndexRequest(partition="main", reception=reception, header=header)


@pytest.fixture
async def put(store_url):
    store = open_store(store_url)

    async def put_one(data):
        batch = new_batch_id()
        key = object_key("main", batch, 1)
        await store.put(key, data)
        return Counting(store), key, batch

    yield put_one
    await store.close()


async def test_every_kind_of_instance_gives_the_same_record_from_message_and_store(put):
    seen = set()
    for instance in demo_patient(slices=2):
        kind = (instance.sop_class_uid, instance.transfer_syntax_uid)
        if kind in seen:
            continue
        seen.add(kind)
        store, key, batch = await put(instance.data)
        request = request_for(instance.data, key, batch)
        sent = derive_one(Material(request), EncoderMemo(), no_fault)
        reread = derive_one(await read_material(store, request), EncoderMemo(), no_fault)
        assert reread == sent
        header, table = header_in_message(request)
        admission = admit(instance.data)
        assert (header, table) == (admission.header, admission.frame_table)
    assert len(seen) >= 2


async def test_of_a_native_image_only_the_beginning_is_read(put):
    large = next(
        instance
        for instance in demo_patient(slices=2)
        if len(instance.data) > 4 * PREFIX_BYTES and instance.transfer_syntax_uid == "1.2.840.10008.1.2.1"
    )
    store, key, batch = await put(large.data)
    await read_material(store, request_for(large.data, key, batch))
    assert store.read == PREFIX_BYTES


async def test_a_line_without_digests_is_filled_in_from_the_object(put):
    data = file_of(identified(1))
    store, key, batch = await put(data)
    wanted = request_for(data, key, batch)
    bare = IndexRequest(
        partition="main",
        reception=Reception(object_key=key, batch=batch, ordinal=1, outcome=Outcome.OUTCOME_ACKNOWLEDGED),
    )
    material = await read_material(store, bare)
    assert material.request.reception == wanted.reception
    # The line that came in is not ours to change.
    assert not bare.reception.data_set_digest


async def test_a_stored_object_that_the_gate_refuses_is_refused(put):
    data = file_of(identified(1))
    store, key, batch = await put(data[:-1])
    request = request_for(data, key, batch)
    request.reception.size -= 1
    with pytest.raises(Refused):
        await read_material(store, request)
