"""Instances that passed the gate, and stores that can be watched and made to misbehave."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest
from gantry.index.v1.index_pb2 import IndexRequest
from gantry.reception.v1.reception_pb2 import Channel, JournalEntry, Manifest, Outcome, Reception, Source
from gantry_dicom.errors import Unavailable
from gantry_dicom.gate import Admission, admit, admit_data_set
from gantry_objectstore.keys import journal_key, parse_object_key
from gantry_objectstore.protocol import parts_of
from gantry_objectstore.records import read_manifest
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import Data, ObjectStore, open_store
from gantry_reception.receiver import Receiver
from gantry_reception.settings import ReceiverSettings
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


@dataclass(frozen=True)
class Instance:
    """What a sender sent, and what the gate made of it."""

    buffer: bytes
    admission: Admission

    @property
    def stored(self) -> bytes:
        if self.admission.meta is None:
            return self.buffer
        return self.admission.meta + self.buffer[self.admission.data_set_offset :]


def make_file(pixels: int = 4000, comment: str = "") -> bytes:
    columns = 40 if pixels < 100_000 else 4000
    rows = pixels // columns
    data_set = Dataset()
    data_set.SOPClassUID = SECONDARY_CAPTURE
    data_set.SOPInstanceUID = generate_uid()
    data_set.StudyInstanceUID = generate_uid()
    data_set.SeriesInstanceUID = generate_uid()
    data_set.PatientName = "Nobody^None"
    if comment:
        data_set.ImageComments = comment
    data_set.Rows, data_set.Columns = rows, columns
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.BitsAllocated = data_set.BitsStored = 8
    data_set.HighBit, data_set.PixelRepresentation = 7, 0
    data_set.PixelData = bytes(rows * columns)
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = io.BytesIO()
    dcmwrite(file, data_set, enforce_file_format=True)
    return file.getvalue()


def make_instance(pixels: int = 4000, comment: str = "") -> Instance:
    buffer = make_file(pixels, comment)
    return Instance(buffer, admit(buffer))


def make_bare_instance() -> Instance:
    file = make_file()
    data_set = file[admit(file).data_set_offset :]
    return Instance(data_set, admit_data_set(data_set, ExplicitVRLittleEndian))


Tap = Callable[[str, str], Awaitable[None]]


async def nothing(_moment: str, _key: str) -> None:
    pass


@dataclass
class WatchedStore:
    """A real store whose puts can be delayed, failed and lost at two moments.

    ``tap`` is awaited with ``before`` and ``after`` each put. ``puts`` holds what has returned.
    """

    real: ObjectStore
    tap: Tap = nothing
    puts: dict[str, bytes] = field(default_factory=dict)

    async def put(self, key: str, data: Data, *, create: bool = False) -> None:
        stored = b"".join(parts_of(data))
        await self.tap("before", key)
        await self.real.put(key, data, create=create)
        await self.tap("after", key)
        self.puts[key] = stored

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)

    def keys(self, prefix: str) -> list[str]:
        return [key for key in self.puts if key.startswith(prefix)]


def failing(prefix: str, *, moment: str = "before", times: int = 1) -> Tap:
    """Fail the first puts under a prefix: before they happen, or by losing the answer after."""
    left = [times]

    async def tap(now: str, key: str) -> None:
        if now == moment and key.startswith(prefix) and left[0]:
            left[0] -= 1
            raise Unavailable("made to fail")

    return tap


@dataclass
class Gate:
    """Holds puts under a prefix until it is opened; ``reached`` says that one waits."""

    prefix: str
    moment: str = "before"
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, now: str, key: str) -> None:
        if now == self.moment and key.startswith(self.prefix):
            self.reached.set()
            await self.opened.wait()


@dataclass
class Recorder:
    """A publisher that remembers; ``hold`` makes it hang."""

    calls: list[tuple[str, list[IndexRequest]]] = field(default_factory=list)
    hold: asyncio.Event | None = None
    error: Exception | None = None

    async def publish(self, partition: str, requests: Sequence[IndexRequest]) -> bool:
        if self.error:
            raise self.error
        if self.hold:
            await self.hold.wait()
        self.calls.append((partition, list(requests)))
        return True

    @property
    def requests(self) -> list[IndexRequest]:
        return [request for _, requests in self.calls for request in requests]


@dataclass
class Clock:
    """The lease's clock, set by hand."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Bench:
    """A receiver over a watched store, with everything a test wants to touch."""

    store: WatchedStore
    sealer: Sealer
    publisher: Recorder
    clock: Clock
    source: Source
    opened: list[Receiver] = field(default_factory=list)

    def receiver(self, **settings: object) -> Receiver:
        receiver = Receiver(
            self.store,
            self.sealer,
            self.publisher,
            ReceiverSettings(**{"manifest_first_pause": 0.01, **settings}),
            clock=self.clock,
        )
        self.opened.append(receiver)
        return receiver

    async def receive(self, receiver: Receiver, instance: Instance, **options: object) -> Reception:
        options = {"partition": "main", **options}
        return await receiver.receive(instance.admission, instance.buffer, self.source, **options)

    def journal(self) -> list[JournalEntry]:
        """Journal entries whose put has returned."""
        return [self.sealer.open(self.store.puts[key], JournalEntry) for key in self.store.keys("j/")]

    def manifests(self) -> list[Manifest]:
        """Manifests whose put has returned."""
        return [self.sealer.open(self.store.puts[key], Manifest) for key in self.store.keys("m/")]

    async def stored_manifests(self) -> list[Manifest]:
        keys = [info.key async for info in self.store.real.list("m/")]
        return [await read_manifest(self.store.real, key, self.sealer) for key in keys]

    def is_led_to(self, key: str, elapsed: float, lease: float) -> bool:
        """Whether, by what has returned until now, a journal entry leads to the object."""
        if key not in self.store.puts:
            return False
        in_lease = journal_key(parse_object_key(key).batch) in self.store.puts and elapsed < lease / 2
        return in_lease or any(key in entry.late_object_keys for entry in self.journal())


@pytest.fixture
def sealer() -> Sealer:
    return Sealer({"k1": bytes(32)}, "k1")


@pytest.fixture
async def bench(store_url: str, sealer: Sealer) -> AsyncIterator[Bench]:
    store = WatchedStore(open_store(store_url))
    source = Source(channel=Channel.CHANNEL_DIMSE, calling_ae_title="CT1", called_ae_title="GANTRY")
    made = Bench(store, sealer, Recorder(), Clock(), source)
    yield made
    store.tap = nothing
    for receiver in made.opened:
        await receiver.close(1.0)
    await store.real.close()


@pytest.fixture
def instances() -> Callable[..., Instance]:
    return make_instance


@pytest.fixture
def bare_instance() -> Instance:
    return make_bare_instance()


@pytest.fixture
def fail() -> Callable[..., Tap]:
    return failing


@pytest.fixture
def gate() -> type[Gate]:
    return Gate


async def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for a condition that background work makes true."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.005)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., Awaitable[None]]:
    return eventually


@pytest.fixture
def outcomes() -> Callable[[Manifest], list[str]]:
    return lambda manifest: [Outcome.Name(line.outcome)[8:].lower() for line in manifest.receptions]
