"""Statements on storage commitment that need a hand in the object store."""

from __future__ import annotations

import asyncio

import orjson
from gantry_testing.synthetic import generate_study
from gantry_testing.synthetic.values import make_uid
from gantry_testing.web import DICOM_JSON


def test_u12_commitment_is_given_for_bytes_not_for_rows(stack):
    """One object is whole, one has another byte, one is gone; the index knows all three."""
    instances = generate_study(12, "SC", instances=3)
    with stack.web("committed") as web:
        web.store([instance.data for instance in instances])
        asyncio.run(damage(stack, instances))
        references = [
            {
                "00081150": {"vr": "UI", "Value": [instance.sop_class_uid]},
                "00081155": {"vr": "UI", "Value": [instance.sop_uid]},
            }
            for instance in instances
        ]
        answer = web.http.post(
            f"{web.base_url}/commitment-requests/{make_uid('u12')}",
            content=orjson.dumps({"00081199": {"vr": "SQ", "Value": references}}),
            headers={"Content-Type": DICOM_JSON, "Accept": DICOM_JSON},
        )
    assert answer.status_code == 200
    [report] = answer.json()
    committed = [item["00081155"]["Value"][0] for item in report["00081199"]["Value"]]
    failed = {item["00081155"]["Value"][0]: item["00081197"]["Value"] for item in report["00081198"]["Value"]}
    whole, changed, gone = (instance.sop_uid for instance in instances)
    assert committed == [whole]
    assert failed == {changed: [0x0110], gone: [0x0110]}


async def damage(stack, instances):
    _, changed, gone = instances
    store = stack.open_store()
    async for info in store.list("o/committed/"):
        data = await store.get(info.key)
        if gone.sop_uid.encode() in data:
            await store.delete(info.key)
        elif changed.sop_uid.encode() in data:
            await store.put(info.key, data[:-2] + bytes([data[-2] ^ 1, data[-1]]))
    await store.close()
