"""Recipes of what is not an image: reports, notes, plans, documents, waveforms."""

from __future__ import annotations

import math
import struct

from pydicom.dataset import Dataset

from gantry_testing.synthetic.modules import Item, code, dataset, evidence, plane, reference, text_item
from gantry_testing.synthetic.values import make_uid

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"


def report(ds: Dataset, item: Item) -> None:
    """Comprehensive SR: text, a measurement and the image it was made on (PS3.3 A.35.3)."""
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = [code("126000", "DCM", "Imaging Measurement Report")]
    ds.CompletionFlag, ds.VerificationFlag, ds.PreliminaryFlag = "COMPLETE", "UNVERIFIED", "FINAL"
    ds.PerformedProcedureCodeSequence = []
    ds.ContentTemplateSequence = [dataset(MappingResource="DCMR", TemplateIdentifier="1500")]
    measurement = dataset(
        RelationshipType="CONTAINS",
        ValueType="NUM",
        ConceptNameCodeSequence=[code("410668003", "SCT", "Length")],
        MeasuredValueSequence=[
            dataset(NumericValue="12.5", MeasurementUnitsCodeSequence=[code("mm", "UCUM", "millimeter")])
        ],
        ContentSequence=[
            dataset(
                RelationshipType="INFERRED FROM",
                ValueType="IMAGE",
                ReferencedSOPSequence=[reference(CT_CLASS, item.referenced_image_uid())],
            )
        ],
    )
    findings = [
        text_item(("121071", "DCM", "Finding"), f"Finding {n}: structure {n} is as it should be.")
        for n in range(1, 13)
    ]
    ds.ContentSequence = [*findings, measurement]
    ds.CurrentRequestedProcedureEvidenceSequence = evidence(item, CT_CLASS, [item.referenced_image_uid()])


def key_objects(ds: Dataset, item: Item) -> None:
    """Key Object Selection (PS3.3 A.35.4)."""
    uids = [item.referenced_image_uid(n) for n in (1, 2, 3)]
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = [code("113000", "DCM", "Of Interest")]
    ds.ContentTemplateSequence = [dataset(MappingResource="DCMR", TemplateIdentifier="2010")]
    ds.ContentSequence = [
        dataset(
            RelationshipType="CONTAINS", ValueType="IMAGE", ReferencedSOPSequence=[reference(CT_CLASS, uid)]
        )
        for uid in uids
    ]
    ds.CurrentRequestedProcedureEvidenceSequence = evidence(item, CT_CLASS, uids)


def presentation_state(ds: Dataset, item: Item) -> None:
    """Grayscale Softcopy Presentation State with an annotation (PS3.3 A.33.1)."""
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = "LUNG", "Lung window", "Reader^One"
    ds.PresentationCreationDate = item.series.study.study_date
    ds.PresentationCreationTime = item.series.study.study_time
    ds.ReferencedSeriesSequence = evidence(item, CT_CLASS, [item.referenced_image_uid()])[
        0
    ].ReferencedSeriesSequence
    for entry in ds.ReferencedSeriesSequence:
        entry.ReferencedImageSequence = entry.ReferencedSOPSequence
        del entry.ReferencedSOPSequence
    ds.DisplayedAreaSelectionSequence = [
        dataset(
            DisplayedAreaTopLeftHandCorner=[1, 1],
            DisplayedAreaBottomRightHandCorner=[512, 512],
            PresentationSizeMode="SCALE TO FIT",
            PresentationPixelAspectRatio=[1, 1],
        )
    ]
    # A state that left these out would turn the image's own off (PS3.4 N.2).
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "-1024", "1", "HU"
    ds.SoftcopyVOILUTSequence = [dataset(WindowCenter=-600, WindowWidth=1600)]
    ds.GraphicLayerSequence = [dataset(GraphicLayer="NOTES", GraphicLayerOrder=1)]
    ds.GraphicAnnotationSequence = [
        dataset(
            GraphicLayer="NOTES",
            TextObjectSequence=[
                dataset(
                    UnformattedTextValue="Look here",
                    AnchorPointAnnotationUnits="PIXEL",
                    AnchorPoint=[100.0, 120.0],
                    AnchorPointVisibility="Y",
                )
            ],
        )
    ]
    ds.PresentationLUTShape = "IDENTITY"


def rt_dose(ds: Dataset, item: Item) -> None:
    """RT Dose grid (PS3.3 A.18)."""
    plane(ds, item, 2.5, 3.0)
    ds.FrameIncrementPointer = 0x3004000C
    ds.GridFrameOffsetVector = [3.0 * n for n in range(item.frames)]
    ds.DoseUnits, ds.DoseType, ds.DoseSummationType = "GY", "PHYSICAL", "PLAN"
    ds.DoseGridScaling = "0.0001"
    ds.ReferencedRTPlanSequence = [reference("1.2.840.10008.5.1.4.1.1.481.5", item.referenced_image_uid(90))]


def rt_plan(ds: Dataset, item: Item) -> None:
    """RT Plan with one static beam (PS3.3 A.20)."""
    ds.RTPlanLabel, ds.RTPlanName = "PLAN1", "Synthetic plan"
    ds.RTPlanDate, ds.RTPlanTime = item.series.study.study_date, item.series.study.study_time
    ds.RTPlanGeometry, ds.PlanIntent = "PATIENT", "CURATIVE"
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = item.frame_of_reference_uid, ""
    points = [
        dataset(ControlPointIndex=n, CumulativeMetersetWeight=float(n), GantryAngle=90.0 * n) for n in (0, 1)
    ]
    ds.BeamSequence = [
        dataset(
            BeamNumber=1,
            BeamName="Field 1",
            BeamType="STATIC",
            RadiationType="PHOTON",
            TreatmentMachineName="LINAC1",
            NumberOfControlPoints=2,
            ControlPointSequence=points,
        )
    ]
    ds.FractionGroupSequence = [
        dataset(
            FractionGroupNumber=1,
            NumberOfFractionsPlanned=30,
            NumberOfBeams=1,
            NumberOfBrachyApplicationSetups=0,
            ReferencedBeamSequence=[dataset(ReferencedBeamNumber=1, BeamMeterset=200.0)],
        )
    ]


def rt_structure_set(ds: Dataset, item: Item) -> None:
    """RT Structure Set with three round contours of one region (PS3.3 A.19)."""
    ds.StructureSetLabel, ds.StructureSetName = "STRUCT1", "Synthetic structures"
    ds.StructureSetDate, ds.StructureSetTime = item.series.study.study_date, item.series.study.study_time
    ds.ReferencedFrameOfReferenceSequence = [dataset(FrameOfReferenceUID=item.frame_of_reference_uid)]
    ds.StructureSetROISequence = [
        dataset(
            ROINumber=1,
            ReferencedFrameOfReferenceUID=item.frame_of_reference_uid,
            ROIName="Target",
            ROIGenerationAlgorithm="AUTOMATIC",
        )
    ]
    contours = []
    for z in (0, 3, 6):
        points = [
            f"{value:.2f}"
            for n in range(64)
            for value in (40 * math.cos(n * math.tau / 64), 40 * math.sin(n * math.tau / 64), z)
        ]
        contours.append(
            dataset(ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=64, ContourData=points)
        )
    ds.ROIContourSequence = [
        dataset(ReferencedROINumber=1, ROIDisplayColor=[255, 0, 0], ContourSequence=contours)
    ]
    ds.RTROIObservationsSequence = [
        dataset(ObservationNumber=1, ReferencedROINumber=1, RTROIInterpretedType="PTV", ROIInterpreter="")
    ]
    ds.ApprovalStatus = "UNAPPROVED"


def pdf(ds: Dataset, item: Item) -> None:
    """Encapsulated PDF (PS3.3 A.45.1): one page that opens."""
    ds.ConversionType, ds.BurnedInAnnotation = "SYN", "NO"
    ds.DocumentTitle, ds.MIMETypeOfEncapsulatedDocument = "Synthetic report", "application/pdf"
    ds.ConceptNameCodeSequence = [code("11528-7", "LN", "Radiology Report")]
    document = _one_page(f"Document {item.sop_uid}")
    ds.EncapsulatedDocumentLength = len(document)
    ds.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    ds["EncapsulatedDocument"].VR = "OB"


def _one_page(text: str) -> bytes:
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    body = b"%PDF-1.4\n"
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj%s endobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    start = len(body)
    body += b"xref\n0 6\n0000000000 65535 f \n" + table
    return body + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % start


def ecg(ds: Dataset, item: Item) -> None:
    """12-lead ECG, ten seconds at 500 samples a second (PS3.3 A.34.2)."""
    leads = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
    ds.AcquisitionDateTime = f"{item.series.study.study_date}{item.series.study.study_time}"
    ds.AcquisitionContextSequence = []
    channels = [
        dataset(
            ChannelSourceSequence=[code(f"5.6.3-9-{n}", "SCPECG", f"Lead {lead}")],
            ChannelSensitivity=1,
            ChannelSensitivityUnitsSequence=[code("uV", "UCUM", "microvolt")],
            ChannelSensitivityCorrectionFactor=1,
            ChannelBaseline=0,
            WaveformBitsStored=16,
        )
        for n, lead in enumerate(leads, 1)
    ]
    samples = [
        int(1000 * math.exp(-(((t % 400) - 100) ** 2) / 40) * (lead + 1) / 12) - lead
        for t in range(5000)
        for lead in range(12)
    ]
    group = dataset(
        MultiplexGroupTimeOffset=0,
        WaveformOriginality="ORIGINAL",
        NumberOfWaveformChannels=12,
        NumberOfWaveformSamples=5000,
        SamplingFrequency=500,
        MultiplexGroupLabel="RHYTHM",
        ChannelDefinitionSequence=channels,
        WaveformBitsAllocated=16,
        WaveformSampleInterpretation="SS",
    )
    group.add_new(0x54001010, "OW", struct.pack("<60000h", *samples))
    ds.WaveformSequence = [group]
    ds.SynchronizationFrameOfReferenceUID = make_uid(item.series.study.study_uid, "clock")
    ds.SynchronizationTrigger, ds.AcquisitionTimeSynchronized = "NO TRIGGER", "N"
