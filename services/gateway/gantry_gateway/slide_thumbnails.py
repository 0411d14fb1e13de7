"""Which instance of a whole slide stands for it: a tile from the middle of a level shows little."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from gantry_dicom.errors import CannotProcess
from gantry_dicom.facts import BASE_MARK
from gantry_dicom.frames import FrameTable
from gantry_index.records import StoredInstance

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
# Image Type, value 3 (PS3.3 C.8.12.4.1.1), best first. A label names the patient: never by choice.
_RANKS: Mapping[str, int] = {"THUMBNAIL": 0, "OVERVIEW": 1, "VOLUME": 2, "LABEL": 4}
_UNKNOWN = 3


def slide_to_show(
    images: Sequence[tuple[StoredInstance, FrameTable]], documents: Iterable[bytes]
) -> tuple[StoredInstance, FrameTable]:
    """Return the thumbnail or overview of a slide, else its level of the fewest tiles.

    ``documents`` are the DICOM JSON objects of the instances.
    """
    flavours = dict(_flavour(document) for document in documents)

    def rank(image: tuple[StoredInstance, FrameTable]) -> tuple[int, int]:
        instance, table = image
        return _RANKS.get(flavours.get(instance.sop_uid, ""), _UNKNOWN), table.count

    return min(images, key=rank)


def _flavour(document: bytes) -> tuple[str, str]:
    """Return the SOP Instance UID of a document and the third value of its Image Type."""
    try:
        attributes = json.loads(document.replace(BASE_MARK, b""))
        image_type = attributes.get("00080008", {}).get("Value") or []
        sop_uid = str(attributes["00080018"]["Value"][0])
    except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        raise CannotProcess("the metadata of a slide cannot be read") from error
    return sop_uid, str(image_type[2]).strip() if len(image_type) > 2 else ""
