"""Sample images whose pictures can be foretold, and pictures as arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

import httpx
import numpy as np
from gantry_testing.synthetic.studies import make_series, stream_series
from gantry_testing.synthetic.values import Instance, Study, make_uid
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID

from gantry_cli.conformance.server import Server
from gantry_cli.conformance.statements import Broken, expect

PNG, JPEG, GIF = "image/png", "image/jpeg", "image/gif"
SIDE = 64
# Every value of 12 bits once, from the upper left to the lower right.
RAMP = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE)


def picture(answer: httpx.Response) -> Image.Image:
    """Return the picture that an answer holds; raises ``Broken`` when it holds none."""
    expect(answer.status_code == 200, f"{answer.request.url} answered {answer.status_code}")
    try:
        image = Image.open(BytesIO(answer.content))
        image.load()
    except (OSError, ValueError) as error:
        raise Broken(f"{answer.request.url} answered no picture") from error
    return image


def gray(answer: httpx.Response) -> NDArray[np.int64]:
    """Return the picture of an answer as rows of brightness, 0 to 255."""
    return np.asarray(picture(answer).convert("L")).astype(np.int64)


def altered(instance: Instance, change: Callable[[Dataset], None], name: str = "") -> Instance:
    """Return an instance with its data set changed; ``name`` makes it another instance."""
    data_set = dcmread(BytesIO(instance.data))
    sop_uid = make_uid(instance.sop_uid, name) if name else instance.sop_uid
    data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = UID(sop_uid)
    change(data_set)
    out = BytesIO()
    data_set.save_as(out, enforce_file_format=True)
    return replace(instance, data=out.getvalue(), sop_uid=sop_uid)


def ramp(server: Server, name: str = "ramp", **values: Any) -> Instance:  # noqa: ANN401 - data elements
    """Return a stored 12-bit ramp; ``values`` are attributes of it by keyword."""

    def change(data_set: Dataset) -> None:
        data_set.Rows = data_set.Columns = SIDE
        data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = 16, 12, 11
        data_set.PixelRepresentation, data_set.PhotometricInterpretation = 0, "MONOCHROME2"
        data_set.PixelData = RAMP.astype("<u2").tobytes()
        data_set["PixelData"].VR = "OW"
        for keyword, value in values.items():
            setattr(data_set, keyword, value)

    def make(study: Study) -> Sequence[Instance]:
        return [altered(instance, change) for instance in stream_series(make_series(study), "SC")]

    [instance] = server.sample(name, make)
    return instance


def expect_levels(shown: NDArray[np.int64], expected: NDArray[Any], what: str) -> None:
    """Raise ``Broken`` unless brightness is what was foretold, to a rounding."""
    expect(shown.shape == expected.shape, f"{what}: the picture is {shown.shape}, not {expected.shape}")
    worst = float(np.abs(shown - np.clip(expected, 0, 255)).max())
    expect(worst <= 1.0, f"{what}: a pixel is {worst:.0f} of 255 off")
