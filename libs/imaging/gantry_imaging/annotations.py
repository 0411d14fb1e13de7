"""Words burned into a picture on request (PS3.18 8.3.5.1.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from PIL import Image, ImageDraw
from pydicom.dataset import Dataset

from gantry_imaging.graphics import draw_text

_LINE_SHARE = 28
_MARGIN = 4

# Keyword of the attribute, label, unit.
_PATIENT: tuple[tuple[str, str, str], ...] = (
    ("PatientName", "Name", ""),
    ("PatientID", "ID", ""),
    ("PatientBirthDate", "Born", ""),
    ("PatientSex", "Sex", ""),
)
_TECHNIQUE: tuple[tuple[str, str, str], ...] = (
    ("Modality", "Modality", ""),
    ("SeriesDescription", "Series", ""),
    ("InstanceNumber", "Image", ""),
    ("StudyDate", "Date", ""),
    ("KVP", "Voltage", "kV"),
    ("XRayTubeCurrent", "Current", "mA"),
    ("ExposureTime", "Exposure", "ms"),
    ("SliceThickness", "Slice", "mm"),
    ("SliceLocation", "Position", "mm"),
    ("EchoTime", "TE", "ms"),
    ("RepetitionTime", "TR", "ms"),
    ("FlipAngle", "Flip", "deg"),
    ("BodyPartExamined", "Body part", ""),
)


def annotated(image: Image.Image, header: Dataset, keywords: Sequence[str]) -> Image.Image:
    """Return the picture with the lines that ``keywords`` ask for, in corners of their own."""
    if not keywords:
        return image
    shown = image.copy()
    pen = ImageDraw.Draw(shown)
    size = image.height / _LINE_SHARE
    if "patient" in keywords:
        draw_text(pen, (_MARGIN, _MARGIN), "\n".join(_lines(header, _PATIENT)), size)
    if "technique" in keywords:
        text = "\n".join(_lines(header, _TECHNIQUE))
        draw_text(pen, (_MARGIN, image.height - _MARGIN), text, size, "ld")
    return shown


ANNOTATIONS = ("patient", "technique")


def _lines(header: Dataset, rows: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    for keyword, label, unit in rows:
        value = header.get(keyword)
        text = "" if value is None else _FORMATS.get(keyword, str)(value).strip()
        if text:
            yield f"{label}: {text} {unit}".rstrip()


def _name(value: object) -> str:
    # The alphabetic group: the built-in font has no others.
    return str(value).partition("=")[0].replace("^", " ")


def _date(value: object) -> str:
    text = str(value)
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}" if len(text) == 8 and text.isdigit() else text


_FORMATS: dict[str, Callable[[object], str]] = {
    "PatientName": _name,
    "PatientBirthDate": _date,
    "StudyDate": _date,
}
