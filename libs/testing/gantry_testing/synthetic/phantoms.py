"""Pictures for people: a thorax, a brain, a beating heart under ultrasound, a chest film.

Drawn from ellipses, so that what a viewer shows can be judged at a glance: left is not
right, up is not down, neighbouring slices resemble each other, the lung is dark.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from gantry_testing.synthetic.plans import PixelPlan, Pixels

Field = npt.NDArray[np.float32]


class Canvas:
    """A picture with axes y (down) and x (right) from -1 to 1."""

    def __init__(self, plan: PixelPlan, background: float = 0.0) -> None:
        self.values: Field = np.full((plan.rows, plan.columns), background, np.float32)
        self.y: Field = np.linspace(-1, 1, plan.rows, dtype=np.float32)[:, None]
        self.x: Field = np.linspace(-1, 1, plan.columns, dtype=np.float32)[None, :]

    def ellipse(
        self,
        value: float,
        at: tuple[float, float],
        radii: tuple[float, float],
        turn: float = 0.0,
        *,
        add: bool = False,
        within: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Fill an ellipse around ``at`` (y, x) with ``radii`` (y, x), turned by ``turn`` radians.

        ``add`` adds the value to what is there; nothing is painted outside ``within``.
        """
        reach = max(radii)
        rows, columns = self._window(self.y, at[0], reach), self._window(self.x, at[1], reach)
        dy, dx = self.y[rows] - at[0], self.x[:, columns] - at[1]
        cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        inside = ((dx * cos + dy * sin) / radii[1]) ** 2 + ((dy * cos - dx * sin) / radii[0]) ** 2 < 1
        if within is not None:
            inside &= within[rows, columns]
        part = self.values[rows, columns]
        part[inside] = part[inside] + value if add else value

    @staticmethod
    def _window(axis: Field, centre: float, reach: float) -> slice:
        first, last = np.searchsorted(axis.reshape(-1), [centre - reach, centre + reach])
        return slice(int(first), int(last))

    def stored(self, plan: PixelPlan) -> Pixels:
        """Return the picture as stored values, cut to the range of the bits stored."""
        return np.asarray(np.clip(self.values, 0, 2**plan.bits_stored - 1), plan.kind.dtype)


@functools.lru_cache(maxsize=8)
def _grain(rows: int, columns: int, seed: int) -> Field:
    return np.random.default_rng(seed).standard_normal((rows, columns), np.float32)


def thorax(position: float, plan: PixelPlan, seed: int = 0) -> Pixels:
    """Return an axial CT slice as stored values (HU + 1024); ``position`` 0 (apex) to 1 (base)."""
    body = Canvas(plan, -1000)
    swell = 0.84 + 0.16 * float(np.sin(np.pi * min(1.0, 0.15 + 0.75 * position)))
    body.ellipse(-90, (0.05, 0), (0.68 * swell, 0.92 * swell))  # fat
    body.ellipse(45, (0.05, 0), (0.62 * swell, 0.86 * swell))  # muscle
    inner = body.values > 0
    lung = 0.2 + 0.8 * float(np.sin(np.pi * min(1.0, 0.15 + 0.8 * position)))
    for side in (-1, 1):
        body.ellipse(-850, (0, side * 0.43), (0.5 * lung * swell, 0.33 * lung * swell), side * 0.15)
    lungs = body.values < -800
    for side in (-1, 1):
        for n in range(5):  # vessels that wander from slice to slice
            angle = n * 1.25 + 4 * position
            at = 0.25 * float(np.sin(angle)), side * (0.42 + 0.14 * float(np.cos(angle)))
            body.ellipse(20, at, (0.014 + 0.006 * n, 0.014 + 0.006 * n), within=lungs)
    heart = float(np.exp(-(((position - 0.65) / 0.22) ** 2)))
    if heart > 0.1:  # to the patient's left: the right of the picture
        body.ellipse(55, (-0.05, 0.16), (0.3 * heart, 0.36 * heart), 0.5, within=inner)
        body.ellipse(180, (-0.02, 0.2), (0.15 * heart, 0.18 * heart), 0.5)  # contrast medium
    if position > 0.78:  # the liver, to the patient's right
        size = (position - 0.78) / 0.22
        body.ellipse(95, (-0.02, -0.38), (0.48 * size, 0.42 * size), -0.2, within=inner)
    body.ellipse(190, (0.22, 0.1), (0.07, 0.07))  # aorta
    body.ellipse(280, (0.42, 0), (0.15, 0.13))  # vertebra
    body.ellipse(30, (0.42, 0), (0.06, 0.06))  # spinal canal
    body.ellipse(350, (-0.55 * swell, 0), (0.035, 0.1))  # sternum
    for n in range(9):  # ribs, moving round as they descend
        angle = np.pi * (n + 0.5 + position * 4 % 1) / 9
        at = 0.05 - 0.56 * swell * float(np.cos(angle)), 0.78 * swell * float(np.sin(angle))
        for side in (-1, 1):
            body.ellipse(420, (at[0], side * at[1]), (0.03, 0.06), side * float(angle), within=inner)
    if abs(position - 0.4) < 0.06:  # a nodule to find
        body.ellipse(60, (-0.15, -0.5), (0.035, 0.035))
    body.values[np.abs(body.y[:, 0] - 0.86) < 0.012] = 60  # the table
    body.values += _grain(plan.rows, plan.columns, seed) * 12 + 1024
    return body.stored(plan)


def brain(position: float, plan: PixelPlan, weighting: str = "T2") -> Pixels:
    """Return an axial MR slice; ``position`` 0 (base) to 1 (vertex), ``weighting`` T1 or T2."""
    fat, grey, white, water = {"T1": (900, 420, 560, 120), "T2": (520, 560, 400, 1100)}[weighting]
    head = Canvas(plan)
    size = float(np.sqrt(max(0.05, 1 - ((position - 0.4) / 0.75) ** 2)))
    head.ellipse(fat, (0, 0), (0.88 * size, 0.7 * size))
    head.ellipse(40, (0, 0), (0.83 * size, 0.65 * size))  # bone
    head.ellipse(water, (0, 0), (0.78 * size, 0.6 * size))
    folds = 0.03 * np.sin(18 * np.arctan2(head.y, head.x) + 9 * position)
    radius = np.hypot(head.y / (0.76 * size), head.x / (0.58 * size)) + folds
    head.values[radius < 1] = grey
    head.values[radius < 0.86] = white
    # The fissure between the hemispheres.
    head.values[(np.abs(head.x) < 0.012) & (radius < 0.98) & (np.abs(head.y) > 0.3 * size)] = water
    ventricle = float(np.exp(-(((position - 0.5) / 0.18) ** 2)))
    for side in (-1, 1):
        if ventricle > 0.1:
            head.ellipse(water, (-0.03, side * 0.1), (0.28 * ventricle, 0.07 * ventricle), side * 0.25)
        head.ellipse(grey, (0.02, side * 0.24), (0.16 * size, 0.08 * size), side * 0.2)
    if abs(position - 0.6) < 0.08:  # a lesion, in the left hemisphere only
        head.ellipse(water * 0.9, (-0.3, 0.3), (0.06, 0.05))
    head.values *= 1 + 0.12 * head.y + 0.06 * head.x
    head.values += np.abs(_grain(plan.rows, plan.columns, 7)) * 14
    return head.stored(plan)


def beating_heart(phase: float, plan: PixelPlan, seed: int = 0) -> Pixels:
    """Return a frame of an ultrasound sector as RGB; ``phase`` 0 to 1 through the cycle."""
    echo = Canvas(plan, 0.24)
    depth, angle = np.hypot(echo.y + 1.02, echo.x), np.arctan2(echo.x, echo.y + 1.02)
    sector = (np.abs(angle) < 0.72) & (depth > 0.08) & (depth < 1.96)
    beat = 1 - 0.28 * float(np.sin(np.pi * phase)) ** 2
    echo.ellipse(0.62, (0, -0.05), (0.62, 0.46), 0.35)  # wall
    echo.ellipse(0.05, (0.02, -0.05), (0.5 * beat, 0.3 * beat), 0.35)  # ventricle
    echo.ellipse(0.06, (0.62, 0.12), (0.2 / beat, 0.24 / beat))  # atrium
    leaflet = 0.36 - 0.2 * float(np.sin(np.pi * phase))
    for side in (-1, 1):
        line = np.abs(echo.y - 0.42 - side * leaflet * (echo.x - 0.04)) < 0.016
        echo.values[line & (side * (echo.x - 0.04) < 0.2) & (side * (echo.x - 0.04) > -0.02)] = 0.95
    speckle = np.abs(_grain(plan.rows, plan.columns, 11 + seed)) * 0.6 + 0.45
    bright = np.where(sector, np.clip(echo.values * speckle * (1.15 - 0.25 * depth), 0, 1), 0) * 255
    picture = np.repeat(bright.astype(np.uint8)[:, :, None], 3, axis=2)
    picture[(echo.y + 0.94) ** 2 + ((echo.x + 0.5) * 4 / 3) ** 2 < 0.0009] = (80, 200, 255)  # the marker
    column = np.arange(plan.columns)
    wave = plan.rows - 12 - (30 * np.exp(-(((column % 110 - 40) / 4.0) ** 2))).astype(int)
    shown = column < phase * plan.columns
    picture[wave[shown], column[shown]] = (60, 230, 90)  # the ECG
    return picture


def chest_film(plan: PixelPlan) -> Pixels:
    """Return a chest radiograph; what absorbs is bright when shown."""
    film = Canvas(plan)
    film.ellipse(0.35, (0.25, 0), (1.25, 0.92), add=True)
    body = film.values > 0
    for side in (-1, 1):
        film.ellipse(-0.22, (0, side * 0.42), (0.66, 0.3), side * 0.12, add=True)
        for n in range(8):
            band = np.abs(film.y + 0.62 - 0.17 * n - 0.3 * (film.x * side - 0.3) ** 2) < 0.018
            film.values[band & (side * film.x > 0.05) & (side * film.x < 0.78) & body] += 0.06
        clavicle = np.abs(film.y + 0.72 + 0.12 * side * film.x) < 0.03
        film.values[clavicle & (side * film.x > 0.06) & body] += 0.08
    film.values[:, np.abs(film.x[0]) < 0.07] += 0.12  # the spine
    film.ellipse(0.25, (0.22, 0.14), (0.32, 0.3), 0.6, add=True)  # the heart
    film.ellipse(0.2, (0.8, -0.35), (0.3, 0.5), add=True, within=body)  # the diaphragm, higher on the right
    film.ellipse(0.9, (-0.85, 0.72), (0.05, 0.04))  # the marker on the left
    bright = np.clip(film.values, 0, 1)
    if plan.photometric == "MONOCHROME1":
        bright = 1 - bright
    film.values = bright * (2**plan.bits_stored - 60) + _grain(plan.rows, plan.columns, 3) * 6 + 30
    return film.stored(plan)
