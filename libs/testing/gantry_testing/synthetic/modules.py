"""The modules of PS3.3 that the recipes are put together from, filled plausibly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from gantry_testing.synthetic.plans import PixelPlan, SampleKind
from gantry_testing.synthetic.values import Series, make_uid

DEVICE = ("Gantry", "Synthesizer", "1.0")
MR_CLASS = "1.2.840.10008.5.1.4.1.1.4"


@dataclass(frozen=True, slots=True)
class Item:
    """What a recipe is told about the instance it describes."""

    series: Series
    sop_class_uid: str
    sop_uid: str
    instance_number: int
    modality: str
    plan: PixelPlan | None
    frames: int

    @property
    def image(self) -> PixelPlan:
        """The plan of an object that has pixels; ``ValueError`` for one that has none."""
        if self.plan is None:
            raise ValueError(f"{self.modality} objects of {self.sop_class_uid} have no pixels")
        return self.plan

    @property
    def frame_of_reference_uid(self) -> str:
        """One frame of reference a study."""
        return make_uid(self.series.study.study_uid, "frame of reference")

    def referenced_image_uid(self, number: int = 1) -> str:
        """UID of an image that an object of the same study points at; it need not exist."""
        return make_uid(self.series.study.study_uid, "referenced", number)


def dataset(**elements: object) -> Dataset:
    """Return a data set with these elements, named by keyword."""
    result = Dataset()
    for keyword, value in elements.items():
        setattr(result, keyword, value)
    return result


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Return an item of a code sequence (PS3.3 8.8)."""
    return dataset(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def reference(sop_class_uid: str, sop_uid: str) -> Dataset:
    """Return an item that references an instance (PS3.3 10.8)."""
    return dataset(ReferencedSOPClassUID=sop_class_uid, ReferencedSOPInstanceUID=sop_uid)


def common(item: Item) -> Dataset:
    """Return patient, study, series, equipment and SOP common modules (PS3.3 C.7.1-C.7.5, C.12.1)."""
    series, study, patient = item.series, item.series.study, item.series.study.patient
    ds = Dataset()
    ds.SpecificCharacterSet = patient.specific_character_set
    ds.SOPClassUID = item.sop_class_uid
    ds.SOPInstanceUID = item.sop_uid
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = study.study_date
    ds.StudyTime = ds.SeriesTime = study.study_time
    ds.ContentTime = study.study_time
    ds.AccessionNumber = study.accession_number
    ds.Modality = item.modality
    ds.Manufacturer, ds.ManufacturerModelName, ds.SoftwareVersions = DEVICE
    ds.InstitutionName = "Gantry Test Hospital"
    ds.StationName = f"{item.modality}01"
    ds.DeviceSerialNumber = "0001"
    ds.ReferringPhysicianName = study.referring_physician_name
    ds.StudyDescription = study.study_description
    ds.SeriesDescription = series.series_description
    ds.PatientName = patient.patient_name
    ds.PatientID = patient.patient_id
    if patient.issuer_of_patient_id:
        ds.IssuerOfPatientID = patient.issuer_of_patient_id
    ds.PatientBirthDate = patient.patient_birth_date
    ds.PatientSex = patient.patient_sex
    ds.StudyInstanceUID = study.study_uid
    ds.SeriesInstanceUID = series.series_uid
    ds.StudyID = study.study_id
    ds.SeriesNumber = series.series_number
    ds.InstanceNumber = item.instance_number
    ds.PerformedProcedureStepStartDate = study.study_date
    ds.PerformedProcedureStepStartTime = study.study_time
    ds.PerformedProcedureStepID = f"PPS{series.series_number}"
    ds.RequestAttributesSequence = [
        dataset(
            RequestedProcedureID=f"RP-{study.accession_number}",
            ScheduledProcedureStepID=f"SPS-{study.accession_number}-{series.series_number}",
            ScheduledProcedureStepDescription=study.study_description,
        )
    ]
    return ds


def image_pixel(ds: Dataset, plan: PixelPlan, frames: int, *, multiframe: bool) -> None:
    """Add the Image Pixel module (PS3.3 C.7.6.3) without the pixel data."""
    ds.SamplesPerPixel = plan.samples
    ds.PhotometricInterpretation = plan.photometric
    if plan.samples > 1:
        ds.PlanarConfiguration = plan.planar
    if multiframe:
        ds.NumberOfFrames = frames
    ds.Rows, ds.Columns = plan.rows, plan.columns
    ds.BitsAllocated = plan.kind.bits_allocated
    if plan.kind not in {SampleKind.FLOAT_32, SampleKind.FLOAT_64}:
        ds.BitsStored, ds.HighBit = plan.bits_stored, plan.bits_stored - 1
        ds.PixelRepresentation = int(plan.signed)


def plane(ds: Dataset, item: Item, spacing: float, thickness: float) -> None:
    """Add Frame of Reference and Image Plane modules (PS3.3 C.7.4.1, C.7.6.2)."""
    ds.FrameOfReferenceUID = item.frame_of_reference_uid
    ds.PositionReferenceIndicator = ""
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.ImagePositionPatient = list(position(item, spacing, thickness))
    ds.SliceLocation = slice_location(item.instance_number, thickness)
    ds.SliceThickness = thickness
    ds.PixelSpacing = [spacing, spacing]


def slice_location(instance_number: int, thickness: float) -> str:
    """Return the position along the patient's axis in mm, as DS."""
    return f"{-thickness * instance_number:.2f}"


def position(item: Item, spacing: float, thickness: float) -> tuple[str, str, str]:
    """Return Image Position (Patient) in mm, as three DS."""
    corner = f"{-spacing * item.image.columns / 2:.2f}", f"{-spacing * item.image.rows / 2:.2f}"
    return (*corner, slice_location(item.instance_number, thickness))


def window(ds: Dataset, center: float, width: float) -> None:
    """Add one window of the VOI LUT module (PS3.3 C.11.2)."""
    ds.WindowCenter, ds.WindowWidth = center, width


def rescale(ds: Dataset, intercept: float, slope: float, units: str) -> None:
    """Add the Modality LUT module as a line (PS3.3 C.11.1)."""
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = intercept, slope, units


def plane_frames(item: Item, spacing: float, thickness: float) -> list[Dataset]:
    """Return Per-Frame Functional Groups with position and content (PS3.3 C.7.6.16)."""
    groups = []
    for number in range(1, item.frames + 1):
        x, y = -spacing * item.image.columns / 2, -spacing * item.image.rows / 2
        groups.append(
            dataset(
                PlanePositionSequence=[dataset(ImagePositionPatient=[x, y, -thickness * number])],
                FrameContentSequence=[
                    dataset(
                        StackID="1",
                        InStackPositionNumber=number,
                        DimensionIndexValues=[1, number],
                        TemporalPositionIndex=1,
                    )
                ],
            )
        )
    return groups


def shared_plane(spacing: float, thickness: float) -> Dataset:
    """Return Shared Functional Groups with orientation and spacing."""
    return dataset(
        PlaneOrientationSequence=[dataset(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelMeasuresSequence=[dataset(SliceThickness=thickness, PixelSpacing=[spacing, spacing])],
    )


def dimensions(item: Item) -> tuple[list[Dataset], list[Dataset]]:
    """Return Dimension Organization and Dimension Index sequences (PS3.3 C.7.6.17)."""
    uid = make_uid(item.sop_uid, "dimension")
    organization = dataset(DimensionOrganizationUID=uid)
    indices = [
        dataset(
            DimensionOrganizationUID=uid, DimensionIndexPointer=pointer, FunctionalGroupPointer=0x00209111
        )
        for pointer in (0x00209056, 0x00209057)
    ]
    return [organization], indices


def text_item(concept: tuple[str, str, str], text: str) -> Dataset:
    """Return a TEXT content item (PS3.3 C.17.3)."""
    return dataset(
        RelationshipType="CONTAINS",
        ValueType="TEXT",
        ConceptNameCodeSequence=[code(*concept)],
        TextValue=text,
    )


def evidence(item: Item, sop_class_uid: str, sop_uids: Sequence[str]) -> list[Dataset]:
    """Return a sequence of study, series and instances (PS3.3 Table C.17-3)."""
    series = dataset(
        SeriesInstanceUID=make_uid(item.series.study.study_uid, "referenced series"),
        ReferencedSOPSequence=[reference(sop_class_uid, uid) for uid in sop_uids],
    )
    return [dataset(StudyInstanceUID=item.series.study.study_uid, ReferencedSeriesSequence=[series])]
