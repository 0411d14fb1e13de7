"""What this library needs to know of sealing; ``gantry_objectstore.sealing.Sealer`` is one."""

from __future__ import annotations

from typing import Protocol, TypeVar

from google.protobuf.message import Message

M = TypeVar("M", bound=Message)


class Seals(Protocol):
    """Authenticates messages, so that whoever can write to Redis cannot inject instances."""

    def seal(self, message: Message, /) -> bytes:
        """Return ``message`` with its MAC."""
        ...

    def open(self, data: bytes, kind: type[M], /) -> M:
        """Return the message; raises a ``GantryError`` when the seal is not ours."""
        ...
