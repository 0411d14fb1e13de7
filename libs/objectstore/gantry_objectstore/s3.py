"""``s3://``: any S3 server, through obstore.

Objects up to 16 MB go in one PUT with a SHA-256 that the server verifies; larger ones in parts
of 8 MiB, each with its own checksum, under one byte budget for all uploads of the process. No
condition is ever sent on the data path (obstore would buffer the whole object, and a retry
after a lost answer would meet its own object): a received object's key is written by nobody
else. Failed requests (5xx with SlowDown, resets, time-outs) are repeated by obstore with
exponential back-off and jitter, a bounded number of times.
"""

from __future__ import annotations

import asyncio
import http.client
import re
import ssl
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import obstore
from gantry_dicom.errors import Conflict, NotFound, Unavailable
from gantry_telemetry.logs import get_logger

if TYPE_CHECKING:
    # obstore has these in its stubs only.
    from obstore.store import ClientConfig, RetryConfig, S3Config
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import S3Store as Client

from gantry_objectstore.budget import ByteBudget
from gantry_objectstore.errors import OutOfRange
from gantry_objectstore.instruments import OPERATIONS
from gantry_objectstore.keys import check_key, check_prefix
from gantry_objectstore.protocol import (
    MAX_SINGLE_PUT_BYTES,
    STREAM_CHUNK_BYTES,
    Buffer,
    Data,
    ObjectInfo,
    parts_of,
)
from gantry_objectstore.ranges import cut, spans_of
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.uploads import Abandoned, AsyncSource, Source

PART_BYTES = 8 * 1024 * 1024
PARTS_AT_ONCE = 3
# Three parts on the way and one being filled.
UPLOAD_BYTES = PART_BYTES * (PARTS_AT_ONCE + 1)
# Ranges with less than this between them are read together: a request costs more than the bytes.
GAP_BYTES = 256 * 1024
# A stream is read in ranges of this size, one ahead of the reader: no request lasts as long as
# a slow reader takes, and a lost connection costs one range.
WINDOW_BYTES = 4 * 1024 * 1024

# A way to the store that is slower than this is taken for one that leads nowhere.
SLOWEST_BYTES_PER_SECOND = 512 * 1024

_ERROR_CODE = re.compile(r"<Code>([A-Za-z]{1,64})</Code>")
_STATUS = re.compile(r"status code: (\d{3})")

log = get_logger(__name__)


class S3Store:
    """One bucket, or a prefix in it, of an S3 server."""

    def __init__(
        self,
        bucket: str,
        settings: StoreSettings,
        *,
        prefix: str = "",
        endpoint: str = "",
        region: str = "us-east-1",
        virtual_hosts: bool = False,
    ) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.endpoint = endpoint
        self.region = region
        self.virtual_hosts = virtual_hosts
        self.settings = settings
        self.uploads = ByteBudget(settings.upload_budget_bytes)
        self._client = _client(self)

    async def put(self, key: str, data: Data, *, create: bool = False) -> None:
        """See ``ObjectStore.put``."""
        check_key(key)
        parts = parts_of(data)
        if create:
            await self._create(key, b"".join(parts))
        elif sum(part.nbytes for part in parts) <= MAX_SINGLE_PUT_BYTES:
            await self._put_whole(key, parts[0] if len(parts) == 1 else b"".join(parts))
        else:
            source = Source(parts, PART_BYTES)
            async with self.uploads.hold(UPLOAD_BYTES):
                await self._upload(key, source)

    async def put_large(self, key: str, source: AsyncIterable[Buffer]) -> int:
        """See ``ObjectStore.put_large``."""
        check_key(key)
        async with self.uploads.hold(UPLOAD_BYTES):
            pieces = AsyncSource(source, PART_BYTES)
            first = await pieces.whole_if_small()
            if first is not None:
                await self._put_whole(key, first)
            else:
                await self._upload(key, pieces)
            return pieces.size

    async def get(self, key: str) -> bytes:
        """See ``ObjectStore.get``."""
        with _outcome("get", key):
            async with self._patience():
                result = await obstore.get_async(self._client, check_key(key))
            async with self._patience(result.meta["size"]):
                return (await result.bytes_async()).to_bytes()

    async def get_prefix(self, key: str, length: int) -> bytes:
        """See ``ObjectStore.get_prefix``."""
        if length <= 0:
            return b""
        try:
            return (await self._window(key, 0, length))[0]
        except OutOfRange:
            return b""

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """See ``ObjectStore.get_range``."""
        check_key(key)
        if length == 0:
            return b""
        with _outcome("get-range", key):
            async with self._patience(length):
                found = await obstore.get_range_async(self._client, key, start=offset, length=length)
            if len(found) != length:
                raise OutOfRange("the range ends beyond the object")
            return found.to_bytes()

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """See ``ObjectStore.get_ranges``; ranges close together are read in one request."""
        spans = spans_of(ranges, GAP_BYTES, WINDOW_BYTES)
        found = await asyncio.gather(*(self.get_range(key, start, end - start) for start, end in spans))
        return [cut(spans, found, offset, length) for offset, length in ranges]

    async def stream(
        self, key: str, offset: int = 0, length: int | None = None, chunk: int = STREAM_CHUNK_BYTES
    ) -> AsyncIterator[bytes]:
        """See ``ObjectStore.stream``."""
        window = max(chunk, WINDOW_BYTES)
        try:
            data, size = await self._window(key, offset, window if length is None else min(window, length))
        except OutOfRange:
            if length or offset:
                raise
            return  # an empty object
        end = size if length is None else offset + length
        if end > size:
            raise OutOfRange("the range ends beyond the object")
        position = offset + len(data)
        ahead: asyncio.Task[bytes] | None = None
        try:
            while data:
                if position < end:
                    step = min(window, end - position)
                    ahead = asyncio.create_task(self.get_range(key, position, step))
                    position += step
                for start in range(0, len(data), chunk):
                    yield data[start : start + chunk] if len(data) > chunk else data
                data = await ahead if ahead else b""
                ahead = None
        finally:
            if ahead is not None:
                ahead.cancel()
                _forget(ahead)

    async def head(self, key: str) -> ObjectInfo:
        """See ``ObjectStore.head``."""
        with _outcome("head", key):
            async with self._patience():
                meta = await obstore.head_async(self._client, check_key(key))
            return ObjectInfo(key, meta["size"], meta["last_modified"])

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """See ``ObjectStore.list``."""
        check_prefix(prefix)
        pages = aiter(obstore.list(self._client, prefix or None, chunk_size=1000))
        while True:
            with _outcome("list", prefix):
                page = await anext(pages, None)
            if page is None:
                return
            for meta in page:
                yield ObjectInfo(meta["path"], meta["size"], meta["last_modified"])

    async def list_folders(self, prefix: str) -> Sequence[str]:
        """See ``ObjectStore.list_folders``."""
        check_prefix(prefix)
        with _outcome("list", prefix):
            found = await obstore.list_with_delimiter_async(self._client, prefix or None)
            return sorted(path.rstrip("/").rsplit("/", 1)[-1] for path in found["common_prefixes"])

    async def delete(self, key: str) -> None:
        """See ``ObjectStore.delete``."""
        check_key(key)
        with _outcome("delete", key), suppress(FileNotFoundError):
            await obstore.delete_async(self._client, key)

    async def now(self) -> datetime:
        """Return the Date header of the server's answer to a bare HEAD, whatever its status."""
        with _outcome("now", ""):
            return await asyncio.to_thread(_server_date, self)

    async def close(self) -> None:
        """See ``ObjectStore.close``; connections are closed with the object."""

    async def _put_whole(self, key: str, data: Buffer) -> None:
        with _outcome("put", key):
            async with self._patience(memoryview(data).nbytes):
                await obstore.put_async(self._client, key, data, use_multipart=False)

    async def _create(self, key: str, data: bytes) -> None:
        with _outcome("create", key):
            try:
                await obstore.put_async(self._client, key, data, mode="create")
            except (AlreadyExistsError, PreconditionError):
                raise Conflict("an object with this key exists") from None

    async def _upload(self, key: str, source: Source | AsyncSource) -> None:
        try:
            with _outcome("upload", key):
                await self._put_parts(key, source)
        except Abandoned:
            raise source.failure or Unavailable("the upload was given up") from None

    async def _put_parts(self, key: str, source: Source | AsyncSource) -> None:
        upload = asyncio.ensure_future(
            obstore.put_async(
                self._client,
                key,
                source,
                use_multipart=True,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )
        )
        try:
            await asyncio.shield(upload)
        except asyncio.CancelledError:
            # Cancelled itself, obstore would leave the parts in the bucket; a source that
            # fails makes it abort the upload.
            source.abandon()
            await asyncio.wait([upload])
            _forget(upload)
            raise
        except Exception as error:
            if source.failure is not None:
                raise Abandoned from error
            raise

    async def _window(self, key: str, offset: int, length: int) -> tuple[bytes, int]:
        """Return up to ``length`` bytes from ``offset``, and the size of the whole object."""
        with _outcome("get-range", check_key(key)):
            async with self._patience(length):
                result = await obstore.get_async(
                    self._client, key, options={"range": (offset, offset + max(length, 1))}
                )
                data = (await result.bytes_async()).to_bytes()
            return data[:length], result.meta["size"]

    def _patience(self, size: int = 0) -> asyncio.Timeout:
        """Bound an operation on ``size`` bytes, its repetitions included.

        A store that takes connections and then says nothing must not hold a sender for as long as
        the slowest part of the largest object may take.
        """
        return asyncio.timeout(self.settings.patience_seconds + size / SLOWEST_BYTES_PER_SECOND)


def _client(store: S3Store) -> Client:
    settings = store.settings
    config: S3Config = {
        "region": store.region,
        "checksum_algorithm": "SHA256",
        "virtual_hosted_style_request": store.virtual_hosts,
    }
    if store.endpoint:
        config["endpoint"] = store.endpoint
    if settings.access_key:
        config["access_key_id"] = settings.access_key
        config["secret_access_key"] = settings.secret_key
    client: ClientConfig = {
        "allow_http": store.endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=settings.connect_seconds),
        "timeout": timedelta(seconds=settings.request_seconds),
    }
    if settings.ca_file:
        client["root_certificate"] = Path(settings.ca_file).read_bytes()
    retry: RetryConfig = {
        "max_retries": settings.retries,
        "retry_timeout": timedelta(seconds=settings.retry_seconds),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=3),
            "base": 2,
        },
    }
    return Client(
        store.bucket, prefix=store.prefix or None, config=config, client_options=client, retry_config=retry
    )


@contextmanager
def _outcome(operation: str, key: str) -> Iterator[None]:
    """Time an operation and say its failure in our own errors."""
    begun = time.perf_counter()
    outcome = "cancelled"
    try:
        yield
        outcome = "ok"
    except (NotFound, Conflict, OutOfRange):
        outcome = "refused"
        raise
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            outcome = "failed"
            log.warning("store_has_no_such_bucket", action=operation)
            raise Unavailable("the bucket is missing") from None
        outcome = "missing"
        raise NotFound("no such object") from None
    except (BaseError, OSError, http.client.HTTPException) as error:
        reason = _reason(str(error))
        if reason in ("InvalidRange", "416"):
            outcome = "refused"
            raise OutOfRange("the range begins beyond the object") from None
        outcome = "failed"
        log.warning(
            "store_operation_failed",
            action=operation,
            object_key=key,
            error=type(error).__name__,
            reason=reason,
        )
        raise Unavailable("the object store does not answer") from error
    finally:
        OPERATIONS.labels("s3", operation, outcome).observe(time.perf_counter() - begun)


def _forget(future: asyncio.Future[Any]) -> None:
    # Nobody waits for it any more: its failure is no news.
    if future.done() and not future.cancelled():
        future.exception()


def _reason(text: str) -> str:
    found = _ERROR_CODE.search(text) or _STATUS.search(text)
    return found[1] if found else ""


def _server_date(store: S3Store) -> datetime:
    url = urlsplit(store.endpoint or f"https://s3.{store.region}.amazonaws.com")
    timeout = store.settings.connect_seconds
    connection: http.client.HTTPConnection
    if url.scheme == "https":
        context = ssl.create_default_context(cafile=store.settings.ca_file or None)
        connection = http.client.HTTPSConnection(url.netloc, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(url.netloc, timeout=timeout)
    try:
        connection.request("HEAD", "/")
        date = connection.getresponse().getheader("Date")
    finally:
        connection.close()
    if date is None:
        raise OSError("the server says no date")
    return parsedate_to_datetime(date).astimezone(UTC)
