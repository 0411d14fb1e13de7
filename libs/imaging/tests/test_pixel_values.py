"""Display values of the pack's images against pydicom's transforms, which share no code with ours."""

import numpy as np
import pytest
from gantry_imaging.attributes import image_attributes
from gantry_imaging.colour import coded_photometric
from gantry_imaging.decode import decode_frame
from gantry_imaging.functional_groups import frame_header
from gantry_imaging.render import Frame, picture
from gantry_testing import datapack
from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing

# What pydicom decodes with nothing but numpy and Pillow: native, RLE, JPEG baseline and JPEG 2000.
SYNTAXES = {
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
}


def images(matching):
    return [
        file
        for file in datapack.files("good")
        if file.entry.get("pixels")
        and file.entry["transfer_syntax"] in SYNTAXES
        and matching(file.entry["image"])
    ]


def load(file):
    data_set = dcmread(file.path, force=True)
    attributes = image_attributes(data_set)
    count = int(data_set.get("NumberOfFrames", 1) or 1)
    coded = data_set.PixelData
    if data_set["PixelData"].is_undefined_length:
        coded = next(generate_frames(coded, number_of_frames=count))
    samples = decode_frame(coded, file.entry["transfer_syntax"], attributes)
    stored = data_set.pixel_array[0] if count > 1 else data_set.pixel_array
    photometric = coded_photometric(attributes, coded, file.entry["transfer_syntax"])
    return Frame(samples, 1, photometric), attributes, frame_header(data_set, 1), stored


def windowed_images():
    """Grayscale images with a VOI LUT or a window, which are shown by nothing else."""
    found = []
    for file in images(lambda image: image["samples"] == 1 and image["bits_allocated"] in (8, 16)):
        header = dcmread(file.path, force=True, stop_before_pixels=True)
        flat = frame_header(header, 1)
        has_window = "VOILUTSequence" in flat or flat.get("WindowWidth")
        if has_window and "RedPaletteColorLookupTableDescriptor" not in flat:
            found.append(file)
    return found


@pytest.mark.parametrize("file", windowed_images(), ids=str)
def test_grayscale_is_modality_then_voi_then_polarity(file):
    frame, attributes, header, stored = load(file)
    if stored.max() >= 1 << attributes.bits_stored:
        # A lossy codec that overshoots: the pack's decoders agree on the bits that are stored.
        stored = stored & ((1 << attributes.bits_stored) - 1)
    modality = apply_modality_lut(stored, header)
    if "VOILUTSequence" in header:
        item = header.VOILUTSequence[0]
        expected = apply_voi(modality.astype(int), header) / (2 ** int(item.LUTDescriptor[2]) - 1)
    else:
        expected = windowed(modality, header, attributes)
    if attributes.photometric_interpretation == "MONOCHROME1":
        expected = 1 - expected
    shown = np.asarray(picture(frame, attributes, header, None)).astype(float)
    assert np.abs(shown - expected * 255).max() <= 0.51


def windowed(modality, header, attributes):
    """pydicom's window, whose output is a range that the stored bits and the rescale decide."""
    low = -(2 ** (attributes.bits_stored - 1)) if attributes.signed else 0
    high = low + 2**attributes.bits_stored - 1
    if "RescaleSlope" in header and "ModalityLUTSequence" not in header:
        slope, intercept = float(header.RescaleSlope), float(header.RescaleIntercept)
        low, high = low * slope + intercept, high * slope + intercept
    return (apply_windowing(modality, header) - low) / (high - low)


@pytest.mark.parametrize("file", images(lambda image: image["photometric"] == "PALETTE COLOR"), ids=str)
def test_palette_colours_are_those_of_the_tables(file):
    frame, attributes, header, stored = load(file)
    expected = apply_color_lut(stored, header)
    if expected.dtype == np.uint16:
        expected = expected >> 8
    assert np.array_equal(np.asarray(picture(frame, attributes, header, None)), expected[..., :3])


def is_colour(image):
    return image["samples"] == 3 and image["bits_allocated"] == 8


@pytest.mark.parametrize("file", images(is_colour), ids=str)
def test_colours_are_what_pydicom_makes_of_them(file):
    frame, attributes, header, expected = load(file)
    shown = np.asarray(picture(frame, attributes, header, None)).astype(int)
    # Two decoders and two conversions, each rounded.
    assert np.abs(shown - expected.astype(int)).max() <= 2
