"""The attributes of one frame of an enhanced object (PS3.3 C.7.6.16), as if it were an image of its own."""

from __future__ import annotations

from pydicom.dataset import Dataset

# Functional groups whose items say how a frame is shown (PS3.3 C.7.6.16.2).
_SHOWN_BY = ("PixelValueTransformationSequence", "FrameVOILUTSequence", "PixelMeasuresSequence")


def frame_header(header: Dataset, frame_number: int) -> Dataset:
    """Return ``header`` with the functional groups of a frame (from 1) at its top level."""
    groups: list[Dataset] = list(header.get("SharedFunctionalGroupsSequence") or [])
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    if frame_number <= len(per_frame):
        groups.append(per_frame[frame_number - 1])
    items = [item for group in groups for keyword in _SHOWN_BY for item in group.get(keyword) or []]
    if not items:
        return header
    flat = Dataset()
    flat.update(header)
    for item in items:
        flat.update(item)
    flat.set_original_encoding(*header.original_encoding)
    return flat
