"""Recipes of images: which attributes beyond the common ones make a CT a CT."""

from __future__ import annotations

from pydicom.dataset import Dataset

from gantry_testing.synthetic.modules import (
    Item,
    code,
    dataset,
    dimensions,
    plane,
    plane_frames,
    reference,
    rescale,
    shared_plane,
    window,
)
from gantry_testing.synthetic.values import make_uid

CT_SPACING, CT_THICKNESS = 0.68, 1.0
MR_SPACING, MR_THICKNESS = 0.9, 4.0
PT_SPACING, PT_THICKNESS = 4.0, 3.0


def ct(ds: Dataset, item: Item) -> None:
    """CT Image (PS3.3 C.8.2.1)."""
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.AcquisitionDate, ds.AcquisitionTime = item.series.study.study_date, item.series.study.study_time
    ds.AcquisitionNumber = 1
    ds.BodyPartExamined = item.series.body_part_examined
    ds.KVP, ds.XRayTubeCurrent, ds.ExposureTime, ds.Exposure = 120, 200, 500, 100
    ds.ConvolutionKernel, ds.FilterType = "B30f", "WEDGE"
    ds.DataCollectionDiameter, ds.ReconstructionDiameter = 500, 348
    ds.GantryDetectorTilt, ds.TableHeight, ds.RotationDirection = 0, 150, "CW"
    ds.ProtocolName, ds.PatientPosition = "Thorax", "HFS"
    ds.ProcedureCodeSequence = [code("CTTHOR", "99GANTRY", "CT of the thorax")]
    plane(ds, item, CT_SPACING, CT_THICKNESS)
    rescale(ds, -1024, 1, "HU")
    window(ds, 40, 400)
    block = ds.private_block(0x0019, "GANTRY SYNTHETIC 01", create=True)
    block.add_new(0x01, "LO", "private value")
    block.add_new(0x02, "DS", "1.25")


def mr(ds: Dataset, item: Item) -> None:
    """MR Image (PS3.3 C.8.3.1)."""
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    ds.BodyPartExamined, ds.PatientPosition = item.series.body_part_examined, "HFS"
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "SE", "SK", "PFP"
    ds.MRAcquisitionType, ds.SequenceName = "2D", "*tse2d1_15"
    ds.RepetitionTime, ds.EchoTime, ds.EchoTrainLength, ds.FlipAngle = 4000, 96, 15, 150
    ds.MagneticFieldStrength, ds.ImagingFrequency, ds.EchoNumbers = 1.5, 63.67, 1
    ds.AcquisitionNumber = 1
    plane(ds, item, MR_SPACING, MR_THICKNESS)
    ds.SpacingBetweenSlices = 4.4
    window(ds, 600, 1200)


def pt(ds: Dataset, item: Item) -> None:
    """PET Image and PET Series (PS3.3 C.8.9.1, C.8.9.4)."""
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.BodyPartExamined = item.series.body_part_examined
    ds.Units, ds.CountsSource, ds.SeriesType = "BQML", "EMISSION", ["WHOLE BODY", "IMAGE"]
    ds.CorrectedImage, ds.DecayCorrection = ["DECY", "ATTN", "SCAT"], "START"
    ds.NumberOfSlices, ds.ImageIndex = 200, item.instance_number
    ds.AcquisitionDate, ds.AcquisitionTime = item.series.study.study_date, item.series.study.study_time
    ds.ActualFrameDuration, ds.FrameReferenceTime = 180000, 90000
    ds.RadiopharmaceuticalInformationSequence = [
        dataset(
            Radiopharmaceutical="FDG",
            RadionuclideTotalDose=350000000,
            RadionuclideHalfLife=6586.2,
            RadionuclideCodeSequence=[code("C-111A1", "SRT", "^18^Fluorine")],
        )
    ]
    plane(ds, item, PT_SPACING, PT_THICKNESS)
    rescale(ds, 0, 0.75, "US")
    window(ds, 10000, 20000)


def nm(ds: Dataset, item: Item) -> None:
    """NM Image, whole-body (PS3.3 C.8.4)."""
    ds.ImageType = ["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"]
    ds.BodyPartExamined = item.series.body_part_examined
    ds.FrameIncrementPointer = [0x00540010, 0x00540020]
    ds.EnergyWindowVector = [1] * item.frames
    ds.DetectorVector = list(range(1, item.frames + 1))
    ds.NumberOfEnergyWindows, ds.NumberOfDetectors = 1, item.frames
    ds.EnergyWindowInformationSequence = [
        dataset(EnergyWindowRangeSequence=[dataset(EnergyWindowLowerLimit=126, EnergyWindowUpperLimit=154)])
    ]
    ds.DetectorInformationSequence = [
        dataset(CollimatorType="PARA", FieldOfViewShape="RECTANGLE") for _ in range(item.frames)
    ]
    ds.PixelSpacing = [2.4, 2.4]
    ds.CountsAccumulated = 1200000


def us(ds: Dataset, item: Item) -> None:
    """US Image with one calibrated region (PS3.3 C.8.5.5, C.8.5.6)."""
    ds.ImageType = ["ORIGINAL", "PRIMARY", "ABDOMINAL", "0001"]
    ds.BodyPartExamined, ds.TransducerData = item.series.body_part_examined, "C5-1"
    ds.SequenceOfUltrasoundRegions = [
        dataset(
            RegionSpatialFormat=1,
            RegionDataType=1,
            RegionFlags=0,
            RegionLocationMinX0=0,
            RegionLocationMinY0=0,
            RegionLocationMaxX1=item.image.columns - 1,
            RegionLocationMaxY1=item.image.rows - 1,
            PhysicalUnitsXDirection=3,
            PhysicalUnitsYDirection=3,
            PhysicalDeltaX=0.03,
            PhysicalDeltaY=0.03,
        )
    ]
    ds.BurnedInAnnotation = "NO"


def us_cine(ds: Dataset, item: Item) -> None:
    """US Multi-frame Image (PS3.3 A.7): a region and the Cine module."""
    us(ds, item)
    cine(ds, 33.3)


def cine(ds: Dataset, frame_time: float) -> None:
    """Add Cine and Multi-frame modules (PS3.3 C.7.6.5, C.7.6.6); milliseconds a frame."""
    ds.FrameIncrementPointer = 0x00181063
    ds.FrameTime = frame_time
    ds.CineRate = ds.RecommendedDisplayFrameRate = round(1000 / frame_time)


def xa(ds: Dataset, item: Item) -> None:
    """X-Ray Angiographic Image (PS3.3 C.8.7)."""
    ds.ImageType = ["ORIGINAL", "PRIMARY", "SINGLE PLANE"]
    ds.BodyPartExamined = item.series.body_part_examined
    ds.PixelIntensityRelationship, ds.RadiationSetting = "LIN", "GR"
    ds.KVP, ds.XRayTubeCurrent, ds.ExposureTime = 80, 500, 8
    ds.PositionerMotion, ds.PositionerPrimaryAngle, ds.PositionerSecondaryAngle = "STATIC", 30, -20
    ds.DistanceSourceToDetector, ds.DistanceSourceToPatient, ds.ImagerPixelSpacing = 1000, 700, [0.3, 0.3]
    cine(ds, 66.7)
    window(ds, 512, 1024)


def _projection(ds: Dataset, item: Item) -> None:
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.BodyPartExamined, ds.ViewPosition = item.series.body_part_examined, "PA"
    ds.KVP, ds.ExposureTime, ds.XRayTubeCurrent = 110, 10, 250
    ds.PatientOrientation = ["L", "F"]
    ds.BurnedInAnnotation = "NO"
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", -1


def cr(ds: Dataset, item: Item) -> None:
    """Computed Radiography Image (PS3.3 C.8.1)."""
    _projection(ds, item)
    ds.PlateType, ds.PhosphorType, ds.ImagerPixelSpacing = "STV", "BaFBr", [0.175, 0.175]
    window(ds, 2048, 4096)


def dx(ds: Dataset, item: Item) -> None:
    """Digital X-Ray Image for presentation (PS3.3 C.8.11)."""
    _projection(ds, item)
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.ImageLaterality, ds.DetectorType = "U", "DIRECT"
    ds.ImagerPixelSpacing = ds.PixelSpacing = [0.143, 0.143]
    ds.AnatomicRegionSequence = [code("51185008", "SCT", "Chest")]
    ds.LossyImageCompression, ds.PresentationLUTShape = "00", "INVERSE"
    rescale(ds, 0, 1, "US")
    window(ds, 2048, 4096)


def mg(ds: Dataset, item: Item) -> None:
    """Digital Mammography Image for presentation (PS3.3 C.8.11.7)."""
    _projection(ds, item)
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.BodyPartExamined, ds.ImageLaterality, ds.ViewPosition = "BREAST", "L", "CC"
    ds.ImagerPixelSpacing, ds.BodyPartThickness, ds.CompressionForce = [0.07, 0.07], 52, 110
    ds.AnatomicRegionSequence = [code("76752008", "SCT", "Breast")]
    ds.ViewCodeSequence = [code("399162004", "SCT", "cranio-caudal")]
    ds.PositionerType, ds.OrganExposed, ds.BreastImplantPresent = "MAMMOGRAPHIC", "BREAST", "NO"
    ds.LossyImageCompression, ds.PresentationLUTShape = "00", "IDENTITY"
    rescale(ds, 0, 1, "US")
    window(ds, 2048, 3000)


def sc(ds: Dataset, item: Item) -> None:
    """Secondary Capture Image (PS3.3 A.8.1)."""
    ds.BodyPartExamined = item.series.body_part_examined
    ds.ConversionType, ds.ImageType = "WSD", ["DERIVED", "SECONDARY"]
    ds.BurnedInAnnotation = "NO"


def enhanced_ct(ds: Dataset, item: Item) -> None:
    """Enhanced CT Image (PS3.3 A.38)."""
    _enhanced(ds, item, CT_SPACING, CT_THICKNESS)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    shared = ds.SharedFunctionalGroupsSequence[0]
    shared.PixelValueTransformationSequence = [
        dataset(RescaleIntercept=-1024, RescaleSlope=1, RescaleType="HU")
    ]
    shared.FrameVOILUTSequence = [dataset(WindowCenter=40, WindowWidth=400)]
    shared.CTAcquisitionTypeSequence = [
        dataset(AcquisitionType="SPIRAL", TubeAngle=0, ConstantVolumeFlag="NO")
    ]


def enhanced_mr(ds: Dataset, item: Item) -> None:
    """Enhanced MR Image (PS3.3 A.36)."""
    _enhanced(ds, item, MR_SPACING, MR_THICKNESS)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "T2", "NONE"]
    ds.MagneticFieldStrength, ds.ResonantNucleus, ds.AcquisitionContrast = 1.5, "1H", "T2"
    ds.ComplexImageComponent = "MAGNITUDE"
    shared = ds.SharedFunctionalGroupsSequence[0]
    shared.MRTimingAndRelatedParametersSequence = [
        dataset(RepetitionTime=4000, FlipAngle=90, EchoTrainLength=15)
    ]
    shared.FrameVOILUTSequence = [dataset(WindowCenter=600, WindowWidth=1200)]


def _enhanced(ds: Dataset, item: Item, spacing: float, thickness: float) -> None:
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = item.frame_of_reference_uid, ""
    ds.AcquisitionDateTime = f"{item.series.study.study_date}{item.series.study.study_time}"
    ds.AcquisitionNumber, ds.ContentQualification = 1, "PRODUCT"
    ds.PixelPresentation, ds.VolumetricProperties = "MONOCHROME", "VOLUME"
    ds.VolumeBasedCalculationTechnique, ds.PresentationLUTShape = "NONE", "IDENTITY"
    ds.BurnedInAnnotation, ds.LossyImageCompression = "NO", "00"
    ds.DimensionOrganizationSequence, ds.DimensionIndexSequence = dimensions(item)
    ds.SharedFunctionalGroupsSequence = [shared_plane(spacing, thickness)]
    ds.PerFrameFunctionalGroupsSequence = plane_frames(item, spacing, thickness)


def segmentation(ds: Dataset, item: Item) -> None:
    """Segmentation, binary, one segment (PS3.3 A.51)."""
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = item.frame_of_reference_uid, ""
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = "LIVER", "Synthetic", "Gantry^Test"
    ds.SegmentationType, ds.LossyImageCompression = "BINARY", "00"
    ds.SegmentSequence = [
        dataset(
            SegmentNumber=1,
            SegmentLabel="Liver",
            SegmentAlgorithmType="AUTOMATIC",
            SegmentAlgorithmName="Synthesizer",
            SegmentedPropertyCategoryCodeSequence=[code("123037004", "SCT", "Anatomical Structure")],
            SegmentedPropertyTypeCodeSequence=[code("10200004", "SCT", "Liver")],
        )
    ]
    ds.DimensionOrganizationSequence, ds.DimensionIndexSequence = dimensions(item)
    shared = shared_plane(CT_SPACING, CT_THICKNESS)
    shared.SegmentIdentificationSequence = [dataset(ReferencedSegmentNumber=1)]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = plane_frames(item, CT_SPACING, CT_THICKNESS)
    ds.ReferencedSeriesSequence = [
        dataset(
            SeriesInstanceUID=make_uid(item.series.study.study_uid, "referenced series"),
            ReferencedInstanceSequence=[
                reference("1.2.840.10008.5.1.4.1.1.2", item.referenced_image_uid(n))
                for n in range(1, item.frames + 1)
            ],
        )
    ]


def parametric_map(ds: Dataset, item: Item) -> None:
    """Parametric Map with floating point pixels (PS3.3 A.75)."""
    _enhanced(ds, item, MR_SPACING, MR_THICKNESS)
    ds.ImageType = ["DERIVED", "PRIMARY", "ADC", "NONE"]
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = "ADC", "Synthetic", "Gantry^Test"


def wsi(ds: Dataset, item: Item) -> None:
    """VL Whole Slide Microscopy, one level of tiles (PS3.3 A.32.8)."""
    side = max(1, round(item.frames**0.5))
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.FrameOfReferenceUID = item.frame_of_reference_uid
    ds.PositionReferenceIndicator = "SLIDE_CORNER"
    ds.TotalPixelMatrixColumns = item.image.columns * side
    ds.TotalPixelMatrixRows = item.image.rows * ((item.frames + side - 1) // side)
    ds.TotalPixelMatrixFocalPlanes = 1
    ds.TotalPixelMatrixOriginSequence = [
        dataset(XOffsetInSlideCoordinateSystem=20, YOffsetInSlideCoordinateSystem=40)
    ]
    ds.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    ds.DimensionOrganizationType = "TILED_FULL"
    ds.DimensionOrganizationSequence, ds.DimensionIndexSequence = dimensions(item)
    ds.ContainerIdentifier, ds.ContainerTypeCodeSequence = "S24-1", [code("433466003", "SCT", "Slide")]
    ds.SpecimenDescriptionSequence = [
        dataset(SpecimenIdentifier="S24-1-A", SpecimenUID=make_uid(item.series.study.study_uid, "specimen"))
    ]
    ds.ImagedVolumeWidth, ds.ImagedVolumeHeight, ds.ImagedVolumeDepth = 10.0, 10.0, 0.004
    ds.SpecimenLabelInImage, ds.FocusMethod, ds.ExtendedDepthOfField = "NO", "AUTO", "NO"
    ds.AcquisitionDateTime = f"{item.series.study.study_date}{item.series.study.study_time}"
    ds.NumberOfOpticalPaths = 1
    ds.OpticalPathSequence = [
        dataset(
            OpticalPathIdentifier="1",
            IlluminationTypeCodeSequence=[code("111744", "DCM", "Brightfield illumination")],
        )
    ]
    ds.BurnedInAnnotation, ds.VolumetricProperties = "NO", "VOLUME"
    ds.SharedFunctionalGroupsSequence = [
        dataset(PixelMeasuresSequence=[dataset(SliceThickness=0.004, PixelSpacing=[0.0005, 0.0005])])
    ]
