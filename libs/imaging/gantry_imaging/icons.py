"""A picture that stands for what cannot be shown: a sheet with a word on it."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from gantry_imaging.picture_files import encode

_PAPER, _BACKGROUND, _INK = 235, 40, 30
_LONGEST_LABEL = 12


def icon(label: str, width: int, height: int, media_type: str) -> bytes:
    """Return a sheet with ``label`` on it that fits into width x height pixels."""
    side = max(min(width, height), 1)
    image = Image.new("L", (side, side), _BACKGROUND)
    pen = ImageDraw.Draw(image)
    margin = side // 8
    pen.rectangle((margin, side // 16, side - margin, side - side // 16), fill=_PAPER)
    text = label[:_LONGEST_LABEL]
    room = side - 2 * margin
    font = ImageFont.load_default(max(min(room / max(len(text), 3) * 1.4, side / 3), 1))
    pen.text((side / 2, side / 2), text, fill=_INK, font=font, anchor="mm")
    return encode(image, media_type, 90)
