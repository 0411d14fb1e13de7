"""Pictures of stored frames: read, rendered where it costs least, and kept for the next caller."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from gantry_dicom.errors import CannotProcess, GantryError
from gantry_dicom.frames import FrameTable
from gantry_dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from gantry_imaging.colour_profiles import NO_PROFILE
from gantry_imaging.geometry import Viewport
from gantry_imaging.picture_files import GIF, JPEG, PNG
from gantry_imaging.render import RenderOptions
from gantry_index.records import StoredInstance

from gantry_gateway.adapters.byte_cache import ByteCache
from gantry_gateway.frames import FrameReader, decoded_bytes
from gantry_gateway.outgoing import Made, Part, WholePart
from gantry_gateway.render_jobs import CodedFrames, render, render_moving

# What is rendered in a thread rather than in a worker: native samples, for which no codec is
# needed, in a few milliseconds.
_QUICK_HEADER_BYTES = 128 << 10
_QUICK_FRAME_BYTES = 2 << 20
_QUICK_PIXELS = 1 << 20
# What takes a millisecond is done at once: handing it to a thread costs as much again under load.
_AT_ONCE_HEADER_BYTES = 32 << 10
_AT_ONCE_FRAME_BYTES = 640 << 10
_AT_ONCE_PIXELS = 1 << 19
_QUICK_TYPES = (JPEG, PNG)
# Rises with every change of what pictures look like, so that nobody keeps one of before.
_RENDERING = 1
# An animation shows no more frames and pixels than these: of a longer one every second, third…
_ANIMATED_FRAMES = 240
_ANIMATED_BYTES = 96 << 20


@dataclass(frozen=True, slots=True)
class State:
    """A presentation state: its identity, and the bytes of the object."""

    key: str
    data: bytes


@dataclass(frozen=True, slots=True)
class PictureMaker:
    """Renders frames in this process, when that is quick, or in workers with limits."""

    frames: FrameReader
    cache: ByteCache
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "picture"))

    async def picture(
        self,
        instance: StoredInstance,
        table: FrameTable,
        number: int,
        options: RenderOptions,
        state: State | None = None,
    ) -> bytes:
        """Return frame ``number`` rendered; raises ``NotFound``, ``CannotProcess`` and ``BadRequest``."""
        table.ranges(number)

        async def make() -> bytes:
            if state is None and _is_quick(table, number, options):
                return await self._quick(await self._native(instance, table, number), options)
            coded = await self._coded(instance, table, [number])
            return await self.frames.workers.run(
                render, coded, options, None if state is None else state.data
            )

        return await self.cache.get(_key(instance, number, options, state), make)

    async def animation(
        self,
        instance: StoredInstance,
        table: FrameTable,
        options: RenderOptions,
        state: State | None = None,
    ) -> bytes:
        """Return all frames, or so many of them that it can be made, as one animated GIF.

        Raises ``NotFound``, ``CannotProcess`` and ``BadRequest``.
        """

        async def make() -> bytes:
            viewport = options.viewport or Viewport(1, 1)
            frame_bytes = max(decoded_bytes(instance, frames=1), 3 * viewport.width * viewport.height)
            most = max(min(_ANIMATED_FRAMES, _ANIMATED_BYTES // frame_bytes), 1)
            step = -(-table.count // most)
            coded = await self._coded(instance, table, range(1, table.count + 1, step))
            return await self.frames.workers.run(
                render_moving, coded, options, None if state is None else state.data, table.count
            )

        return await self.cache.get(_key(instance, 0, options, state), make)

    def part(
        self,
        instance: StoredInstance,
        table: FrameTable,
        number: int,
        options: RenderOptions,
        otherwise: Callable[[], bytes],
        state: State | None = None,
    ) -> Part:
        """Return frame ``number`` rendered, as one part of many; a frame that cannot be is ``otherwise``."""

        async def make() -> Made:
            try:
                picture = await self.picture(instance, table, number, options, state)
            except CannotProcess:
                # One damaged frame must not tear the answer of a whole study.
                picture = otherwise()
            return Made(picture, options.media_type)

        return WholePart(options.media_type, make, weight=decoded_bytes(instance, frames=1))

    async def _native(self, instance: StoredInstance, table: FrameTable, number: int) -> CodedFrames:
        """Return a frame of native samples with the header before it, in one read."""
        pieces = await self.frames.store.get_ranges(
            instance.object_key, [(0, table.value_offset), *table.ranges(number)]
        )
        frame = table.native_frame(number, pieces[1])
        return CodedFrames(pieces[0], EXPLICIT_VR_LITTLE_ENDIAN, table.pixel_data_tag, [(number, frame)])

    async def _coded(
        self, instance: StoredInstance, table: FrameTable, numbers: Sequence[int]
    ) -> CodedFrames:
        header = await self.frames.header(instance, table)
        frames = [(number, await self.frames.stored(instance, table, number)) for number in numbers]
        syntax = instance.transfer_syntax_uid if table.kind == "encapsulated" else EXPLICIT_VR_LITTLE_ENDIAN
        return CodedFrames(header, syntax, table.pixel_data_tag, frames)

    async def _quick(self, coded: CodedFrames, options: RenderOptions) -> bytes:
        try:
            if _is_done_at_once(coded, options):
                return render(coded, options, None)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, render, coded, options, None)
        except GantryError:
            raise
        except Exception as error:
            # The libraries raise whatever their parts raise on data that makes no sense.
            raise CannotProcess("the frame could not be rendered") from error

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def picture_etag(instances: Sequence[StoredInstance], asked: object) -> str:
    """Return a strong ETag for pictures of stored bytes made in one way."""
    stored = [(instance.store_id, instance.object_key) for instance in instances]
    return f'"{hashlib.sha256(repr((_RENDERING, stored, asked)).encode()).hexdigest()[:32]}"'


def is_animated(table: FrameTable, options: RenderOptions) -> bool:
    """Tell whether an instance without a frame named is given as an animation."""
    return options.media_type == GIF and table.count > 1


def _is_quick(table: FrameTable, number: int, options: RenderOptions) -> bool:
    viewport = options.viewport or Viewport(1, 1)
    return (
        table.kind == "native"
        and table.value_offset <= _QUICK_HEADER_BYTES
        and sum(length for _, length in table.ranges(number)) <= _QUICK_FRAME_BYTES
        and viewport.width * viewport.height <= _QUICK_PIXELS
        and options.media_type in _QUICK_TYPES
        and options.icc_profile == NO_PROFILE
    )


def _is_done_at_once(coded: CodedFrames, options: RenderOptions) -> bool:
    viewport = options.viewport or Viewport(1, 1)
    return (
        len(coded.header) <= _AT_ONCE_HEADER_BYTES
        and sum(len(data) for _, data in coded.frames) <= _AT_ONCE_FRAME_BYTES
        and viewport.width * viewport.height <= _AT_ONCE_PIXELS
    )


def _key(
    instance: StoredInstance, number: int, options: RenderOptions, state: State | None
) -> tuple[object, ...]:
    state_key = None if state is None else state.key
    return "picture", instance.store_id, instance.object_key, number, options, state_key
