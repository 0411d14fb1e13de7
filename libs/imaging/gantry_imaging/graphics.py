"""Graphics and text of a presentation state, drawn on the picture that it makes (PS3.3 C.10.5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset

Point = tuple[float, float]

_INK, _RIM = 255, 0
_SMALLEST_TEXT, _LARGEST_TEXT = 10, 64
_MOST_POINTS = 100_000
_MOST_CHARACTERS = 2_000
_CURVE_STEPS = 8
_ANCHORS = {"LEFT": "la", "CENTER": "ma", "RIGHT": "ra"}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a picture shows its image: ``to_picture`` maps image positions, from 0 at the upper left edge."""

    width: int
    height: int
    to_picture: Callable[[Point], Point]

    def place(self, point: Point, units: str) -> Point:
        """Return the place of a point in the units of an annotation: ``DISPLAY`` or the image's."""
        if units == "DISPLAY":
            return point[0] * self.width, point[1] * self.height
        return self.to_picture(point)


def draw_annotations(image: Image.Image, annotations: Sequence[Dataset], placement: Placement) -> None:
    """Draw the graphic and text objects of annotations; damaged ones are left out."""
    pen = ImageDraw.Draw(image)
    for annotation in annotations:
        for graphic in annotation.get("GraphicObjectSequence") or []:
            _draw_graphic(pen, graphic, placement)
        for text in annotation.get("TextObjectSequence") or []:
            _draw_text_object(pen, text, placement)


def draw_text(pen: ImageDraw.ImageDraw, place: Point, text: str, size: float, anchor: str = "la") -> None:
    """Draw lines of text that can be read on any background."""
    height = min(max(size, _SMALLEST_TEXT), _LARGEST_TEXT)
    font = ImageFont.load_default(height)
    ink, rim = (_INK, _RIM) if pen.mode == "L" else ((_INK,) * 3, (_RIM,) * 3)
    pen.multiline_text(
        place, text[:_MOST_CHARACTERS], fill=ink, font=font, anchor=anchor, stroke_width=1, stroke_fill=rim
    )


def _draw_graphic(pen: ImageDraw.ImageDraw, graphic: Dataset, placement: Placement) -> None:
    numbers = _numbers(graphic, "GraphicData")
    units = str(graphic.get("GraphicAnnotationUnits", "PIXEL")).strip()
    points = [placement.place(point, units) for point in zip(numbers[::2], numbers[1::2], strict=False)]
    kind = str(graphic.get("GraphicType", "")).strip()
    ink = _INK if pen.mode == "L" else (_INK,) * 3
    if kind == "POINT" and points:
        (x, y) = points[0]
        pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=ink)
        return
    outline = _OUTLINES.get(kind, list)(points)
    if len(outline) < 2:
        return
    if str(graphic.get("GraphicFilled", "N")).strip() == "Y" and len(outline) > 2:
        pen.polygon(outline, fill=ink)
    pen.line(outline, fill=ink, width=1)


def _circle(points: Sequence[Point]) -> Sequence[Point]:
    """The centre and a point of the circumference."""
    if len(points) < 2:
        return points
    (x, y), (edge_x, edge_y) = points[:2]
    radius = math.hypot(edge_x - x, edge_y - y)
    return _oval((x, y), (radius, 0.0), (0.0, radius))


def _ellipse(points: Sequence[Point]) -> Sequence[Point]:
    """The ends of the major axis, then of the minor."""
    if len(points) < 4:
        return points
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = points[:4]
    centre = ((ax + bx) / 2, (ay + by) / 2)
    return _oval(centre, ((bx - ax) / 2, (by - ay) / 2), ((dx - cx) / 2, (dy - cy) / 2))


def _oval(centre: Point, first: Point, second: Point) -> list[Point]:
    steps = 96
    angles = [math.tau * step / steps for step in range(steps + 1)]
    return [
        (
            centre[0] + first[0] * math.cos(angle) + second[0] * math.sin(angle),
            centre[1] + first[1] * math.cos(angle) + second[1] * math.sin(angle),
        )
        for angle in angles
    ]


def _smooth(points: Sequence[Point]) -> Sequence[Point]:
    """A curve through all points (Catmull-Rom)."""
    if len(points) < 3:
        return points
    closed = points[0] == points[-1]
    before, after = (points[-2], points[1]) if closed else (points[0], points[-1])
    line = [before, *points, after]
    curve: list[Point] = []
    for p0, p1, p2, p3 in zip(line, line[1:], line[2:], line[3:], strict=False):
        for step in range(_CURVE_STEPS):
            t = step / _CURVE_STEPS
            curve.append((_spline(p0[0], p1[0], p2[0], p3[0], t), _spline(p0[1], p1[1], p2[1], p3[1], t)))
    return [*curve, points[-1]]


def _spline(a: float, b: float, c: float, d: float, t: float) -> float:
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)


_OUTLINES: dict[str, Callable[[Sequence[Point]], Sequence[Point]]] = {
    "CIRCLE": _circle,
    "ELLIPSE": _ellipse,
    "INTERPOLATED": _smooth,
}


def _draw_text_object(pen: ImageDraw.ImageDraw, item: Dataset, placement: Placement) -> None:
    text = str(item.get("UnformattedTextValue", "") or "").replace("\r\n", "\n").strip("\n")
    if not text:
        return
    default_size = placement.height / 30
    anchor_point = _numbers(item, "AnchorPoint")
    corner, opposite = (
        _numbers(item, "BoundingBoxTopLeftHandCorner"),
        _numbers(item, "BoundingBoxBottomRightHandCorner"),
    )
    if len(corner) == 2 and len(opposite) == 2:
        units = str(item.get("BoundingBoxAnnotationUnits", "PIXEL")).strip()
        (x1, y1), (x2, y2) = (placement.place((box[0], box[1]), units) for box in (corner, opposite))
        left, right, top = min(x1, x2), max(x1, x2), min(y1, y2)
        lines = text.count("\n") + 1
        alignment = str(item.get("BoundingBoxTextHorizontalJustification", "LEFT")).strip()
        x = {"CENTER": (left + right) / 2, "RIGHT": right}.get(alignment, left)
        size = max(abs(y2 - y1) / lines / 1.2, default_size / 2)
        draw_text(pen, (x, top), text, size, _ANCHORS.get(alignment, "la"))
        start: Point = ((left + right) / 2, (y1 + y2) / 2)
    elif len(anchor_point) == 2:
        start = _anchor(item, anchor_point, placement)
        draw_text(pen, (start[0] + 3, start[1] + 3), text, default_size)
    else:
        return
    if len(anchor_point) == 2 and str(item.get("AnchorPointVisibility", "N")).strip() == "Y":
        x, y = _anchor(item, anchor_point, placement)
        ink = _INK if pen.mode == "L" else (_INK,) * 3
        pen.line((*start, x, y), fill=ink)
        pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=ink)


def _anchor(item: Dataset, point: Sequence[float], placement: Placement) -> Point:
    units = str(item.get("AnchorPointAnnotationUnits", "PIXEL")).strip()
    return placement.place((point[0], point[1]), units)


def _numbers(item: Dataset, keyword: str) -> list[float]:
    value = item.get(keyword)
    try:
        numbers = [float(number) for number in value] if value is not None else []
    except (TypeError, ValueError):
        return []
    return numbers[:_MOST_POINTS] if all(abs(number) < 1e6 for number in numbers) else []
