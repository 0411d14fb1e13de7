"""What a presentation state says about one frame (PS3.3 A.33, C.10, C.11; PS3.4 N.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gantry_dicom.errors import CannotProcess
from pydicom.dataset import Dataset

from gantry_imaging.attributes import ImageAttributes
from gantry_imaging.grayscale import GrayscaleTransforms, can_be_negative, read_modality, read_voi
from gantry_imaging.luts import LookupTable, read_lut
from gantry_imaging.overlays import active_groups
from gantry_imaging.palette import Palette, has_palette, read_palette

_PSEUDO_COLOUR = "1.2.840.10008.5.1.4.1.1.11.3"


@dataclass(frozen=True, slots=True)
class DisplayedArea:
    """The part of the image shown, in pixels from 0 to edges; it may reach beyond the image.

    ``ratio`` is the height of a pixel over its width, ``None`` when the image decides.
    ``magnification`` is 1 unless the state magnifies.
    """

    left: float
    top: float
    right: float
    bottom: float
    ratio: float | None
    magnification: float


@dataclass(frozen=True, slots=True, eq=False)
class Presentation:
    """How one frame is shown: ``data_set`` is the state, for shutters, overlays and graphics."""

    data_set: Dataset
    transforms: GrayscaleTransforms
    palette: Palette | None
    area: DisplayedArea | None
    # Degrees clockwise, then a flip left to right.
    rotation: int
    flipped: bool
    annotations: Sequence[Dataset]
    overlay_groups: frozenset[int]


def read_presentation(
    data_set: Dataset, attributes: ImageAttributes, sop_instance_uid: str, frame_number: int
) -> Presentation:
    """Return what a presentation state says about a frame (from 1) of an image.

    A grayscale transform that the state does not have is the identity, whatever the image has
    (PS3.4 N.2); so is its polarity whatever the image's photometric interpretation (N.2.1.4).
    """

    def first(keyword: str) -> Dataset | None:
        items = data_set.get(keyword) or []
        return next((item for item in items if _is_about(item, sop_instance_uid, frame_number)), None)

    modality = read_modality(data_set, signed=attributes.signed)
    softcopy_voi = first("SoftcopyVOILUTSequence")
    is_signed = attributes.signed or can_be_negative(modality)
    area = first("DisplayedAreaSelectionSequence")
    rotation = data_set.get("ImageRotation")
    return Presentation(
        data_set=data_set,
        transforms=GrayscaleTransforms(
            modality=modality,
            voi=None if softcopy_voi is None else read_voi(softcopy_voi, signed=is_signed),
            presentation=_presentation_lut(data_set),
            inverted=str(data_set.get("PresentationLUTShape", "") or "").strip() == "INVERSE",
        ),
        palette=_palette(data_set),
        area=None if area is None else _displayed_area(area),
        rotation=int(rotation) % 360 if isinstance(rotation, int) and rotation % 90 == 0 else 0,
        flipped=str(data_set.get("ImageHorizontalFlip", "") or "").strip() == "Y",
        annotations=_annotations(data_set, sop_instance_uid, frame_number),
        overlay_groups=active_groups(data_set),
    )


def _is_about(item: Dataset, sop_instance_uid: str, frame_number: int) -> bool:
    """Whether an item applies to a frame; one that names no images applies to all of them."""
    references = item.get("ReferencedImageSequence")
    if not references:
        return True
    for reference in references:
        if str(reference.get("ReferencedSOPInstanceUID", "")) == sop_instance_uid:
            frames = reference.get("ReferencedFrameNumber")
            if frames in (None, ""):
                return True
            numbers = [frames] if isinstance(frames, int | str) else frames
            if frame_number in [int(number) for number in numbers]:
                return True
    return False


def _presentation_lut(data_set: Dataset) -> LookupTable | None:
    items = data_set.get("PresentationLUTSequence")
    try:
        return read_lut(items[0], signed=False) if items else None
    except CannotProcess:
        return None


def _palette(data_set: Dataset) -> Palette | None:
    if str(data_set.get("SOPClassUID", "")) != _PSEUDO_COLOUR or not has_palette(data_set):
        return None
    return read_palette(data_set)


def _displayed_area(item: Dataset) -> DisplayedArea | None:
    try:
        (x1, y1), (x2, y2) = (
            (float(number) for number in item[keyword].value)
            for keyword in ("DisplayedAreaTopLeftHandCorner", "DisplayedAreaBottomRightHandCorner")
        )
    except (KeyError, TypeError, ValueError):
        return None
    ratio = None
    for keyword in ("PresentationPixelSpacing", "PresentationPixelAspectRatio"):
        value = item.get(keyword)
        if ratio is None and value and len(value) == 2 and min(float(number) for number in value) > 0:
            ratio = float(value[0]) / float(value[1])
    magnification = item.get("PresentationPixelMagnificationRatio")
    is_magnified = str(item.get("PresentationSizeMode", "")).strip() == "MAGNIFY" and magnification
    # The corners are the displayed ones, which a rotation or flip has moved: in the image either
    # may be the smaller (C.10.4).
    return DisplayedArea(
        left=min(x1, x2) - 1,
        top=min(y1, y2) - 1,
        right=max(x1, x2),
        bottom=max(y1, y2),
        ratio=ratio,
        magnification=float(magnification) if is_magnified and magnification > 0 else 1.0,
    )


def _annotations(data_set: Dataset, sop_instance_uid: str, frame_number: int) -> list[Dataset]:
    """Return the graphic annotations of a frame, lowest layer first (C.10.5, C.10.7)."""
    orders = {
        str(layer.get("GraphicLayer", "")): int(layer.get("GraphicLayerOrder") or 0)
        for layer in data_set.get("GraphicLayerSequence") or []
    }
    items = data_set.get("GraphicAnnotationSequence") or []
    about = [item for item in items if _is_about(item, sop_instance_uid, frame_number)]
    return sorted(about, key=lambda item: orders.get(str(item.get("GraphicLayer", "")), 0))
