"""The table of what can be made: one row a kind of object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydicom.dataset import Dataset

from gantry_testing.synthetic import documents, images
from gantry_testing.synthetic.modules import Item
from gantry_testing.synthetic.plans import PixelPlan, SampleKind

_STORAGE = "1.2.840.10008.5.1.4.1.1."


@dataclass(frozen=True, slots=True)
class Recipe:
    """A kind of object: its SOP class (by its suffix under the storage root), pixels and attributes."""

    sop_class: str
    modality: str
    fill: Callable[[Dataset, Item], None]
    plan: PixelPlan | None = None
    frames: int = 1
    multiframe: bool = False
    # Distance of slices in mm where Image Position (Patient) rises with the instance number,
    # and the spacing of pixels that gives its first two values.
    slices: tuple[float, float] | None = None

    @property
    def sop_class_uid(self) -> str:
        """SOP Class UID (0008,0016)."""
        return _STORAGE + self.sop_class


_U8, _U16, _S16 = SampleKind.UNSIGNED_8, SampleKind.UNSIGNED_16, SampleKind.SIGNED_16


def _gray(rows: int, columns: int, bits: int = 12, kind: SampleKind = _U16, mono: int = 2) -> PixelPlan:
    return PixelPlan(rows, columns, kind, bits, 1, f"MONOCHROME{mono}")


def _colour(rows: int, columns: int, photometric: str = "RGB", planar: int = 0) -> PixelPlan:
    return PixelPlan(rows, columns, _U8, 8, 3, photometric, planar)


_CT = (images.CT_SPACING, images.CT_THICKNESS)
_MR = (images.MR_SPACING, images.MR_THICKNESS)
_PT = (images.PT_SPACING, images.PT_THICKNESS)

RECIPES: Mapping[str, Recipe] = {
    "CT": Recipe("2", "CT", images.ct, _gray(512, 512), slices=_CT),
    "CT_SIGNED": Recipe("2", "CT", images.ct, _gray(512, 512, 16, _S16), slices=_CT),
    "MR": Recipe("4", "MR", images.mr, _gray(256, 256), slices=_MR),
    "PT": Recipe("128", "PT", images.pt, _gray(128, 128, 16), slices=_PT),
    "NM": Recipe("20", "NM", images.nm, _gray(512, 256, 16), 2, True),
    "US": Recipe("6.1", "US", images.us, _colour(480, 640)),
    "US_CINE": Recipe("3.1", "US", images.us_cine, _colour(240, 320), 20, True),
    "US_CINE_PLANAR": Recipe("3.1", "US", images.us_cine, _colour(240, 320, planar=1), 8, True),
    "US_CINE_YBR": Recipe("3.1", "US", images.us_cine, _colour(240, 320, "YBR_FULL"), 8, True),
    "CR": Recipe("1", "CR", images.cr, _gray(1024, 880, 10, mono=1)),
    "DX": Recipe("1.1", "DX", images.dx, _gray(1024, 1024, 14, mono=1)),
    "MG": Recipe("1.2", "MG", images.mg, _gray(1280, 1024)),
    "XA": Recipe("12.1", "XA", images.xa, _gray(512, 512, 10), 12, True),
    "SC": Recipe("7", "OT", images.sc, _gray(64, 64, 8, _U8)),
    "SC_COLOUR": Recipe("7", "OT", images.sc, _colour(128, 160)),
    "SEG": Recipe("66.4", "SEG", images.segmentation, PixelPlan(129, 131, SampleKind.BIT, 1), 5, True),
    "PMAP": Recipe("30", "MR", images.parametric_map, PixelPlan(96, 96, SampleKind.FLOAT_32, 32), 4, True),
    "ENHANCED_CT": Recipe("2.1", "CT", images.enhanced_ct, _gray(256, 256), 24, True),
    "ENHANCED_MR": Recipe("4.1", "MR", images.enhanced_mr, _gray(192, 192, 16, _S16), 24, True),
    "WSI": Recipe("77.1.6", "SM", images.wsi, _colour(256, 256), 9, True),
    "SR": Recipe("88.33", "SR", documents.report),
    "KO": Recipe("88.59", "KO", documents.key_objects),
    "PR": Recipe("11.1", "PR", documents.presentation_state),
    "RTDOSE": Recipe(
        "481.2", "RTDOSE", documents.rt_dose, PixelPlan(64, 80, SampleKind.UNSIGNED_32, 32), 10, True
    ),
    "RTPLAN": Recipe("481.5", "RTPLAN", documents.rt_plan),
    "RTSTRUCT": Recipe("481.3", "RTSTRUCT", documents.rt_structure_set),
    "PDF": Recipe("104.1", "DOC", documents.pdf),
    "ECG": Recipe("9.1.1", "ECG", documents.ecg),
}
