"""The images that a presentation state is about, in its order (PS3.3 C.11.11)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gantry_dicom.errors import CannotProcess

_REFERENCED_SERIES, _REFERENCED_IMAGES = "00081115", "00081140"
_SOP_INSTANCE, _FRAME_NUMBERS = "00081155", "00081160"
# Where blending states keep the references of each of their parts.
_PARTS = ("00700402", "00701B01")


@dataclass(frozen=True, slots=True)
class PresentedImage:
    """An image, and which of its frames (none named: all)."""

    sop_instance_uid: str
    frames: tuple[int, ...]


def presented_images(document: bytes) -> list[PresentedImage]:
    """Return the images that the DICOM JSON object of a presentation state refers to.

    Raises ``CannotProcess`` when it cannot be read.
    """
    try:
        return list(_references(json.loads(document)))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CannotProcess("the presentation state cannot be read") from error


def _references(attributes: Mapping[str, Any]) -> Iterator[PresentedImage]:
    for series in _values(attributes, _REFERENCED_SERIES):
        for image in _values(series, _REFERENCED_IMAGES):
            for uid in _values(image, _SOP_INSTANCE):
                frames = tuple(int(number) for number in _values(image, _FRAME_NUMBERS))
                yield PresentedImage(str(uid), frames)
    for tag in _PARTS:
        for part in _values(attributes, tag):
            yield from _references(part)


def _values(attributes: Mapping[str, Any], tag: str) -> list[Any]:
    return attributes.get(tag, {}).get("Value") or []
