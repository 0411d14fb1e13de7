"""Helpers of the messaging tests: a sealer that only these tests use."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable

import pytest
from gantry.index.v1.index_pb2 import Header, IndexRequest
from gantry.reception.v1.reception_pb2 import Lane, Reception
from gantry_dicom.errors import Conflict
from google.protobuf.message import Message


class TestSeals:
    """HMAC with a fixed key in front of the message, enough to tell ours from others'."""

    __test__ = False

    def __init__(self, key: bytes = b"k") -> None:
        self._key = key

    def seal(self, message: Message) -> bytes:
        body = message.SerializeToString()
        return self._mac(body) + body

    def open(self, data: bytes, kind):
        if not hmac.compare_digest(self._mac(data[32:]), data[:32]):
            raise Conflict("the seal is not ours")
        return kind.FromString(data[32:])

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)


@pytest.fixture
def seals() -> TestSeals:
    return TestSeals()


@pytest.fixture
def make_request() -> Callable[..., IndexRequest]:
    def make(ordinal: int, lane: Lane = Lane.LANE_LIVE, header: int = 0, reply_to: str = "") -> IndexRequest:
        return IndexRequest(
            partition="main",
            reception=Reception(object_key=f"o/main/00/B/{ordinal}", batch="B", ordinal=ordinal, lane=lane),
            header=Header(before_pixel_data=b"x" * header) if header else None,
            reply_to=reply_to,
        )

    return make


@pytest.fixture
def until():
    """Wait for a condition, failing after a deadline."""

    async def wait(condition, seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while True:
            result = condition()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return
            assert time.monotonic() < deadline, "the condition did not come true"
            await asyncio.sleep(0.02)

    return wait
