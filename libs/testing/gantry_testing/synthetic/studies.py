"""Studies: many instances, as a list or as a stream.

``stream_series`` is the one road; the rest puts series together. Everything follows from
the seed and the arguments: the same call gives the same bytes on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from pydicom.dataset import Dataset

from gantry_testing.synthetic import codecs, encoding, modules
from gantry_testing.synthetic.identity import FrameIdentity, draw_frame
from gantry_testing.synthetic.names import FAMILIES, GIVEN
from gantry_testing.synthetic.plans import PixelPlan, Pixels
from gantry_testing.synthetic.recipes import RECIPES, Recipe
from gantry_testing.synthetic.values import EXPLICIT_LE, Instance, Patient, Series, Study, make_uid

Painter = Callable[[int, int, PixelPlan], Pixels]
"""Draws frame ``number`` (from 1) of instance ``number`` in place of the identity pattern."""


_SOP_INSTANCE_UID, _INSTANCE_NUMBER = (0x00080018, "UI"), (0x00200013, "IS")
_POSITION, _LOCATION = (0x00200032, "DS"), (0x00201041, "DS")


def make_patient(seed: int) -> Patient:
    """Return the patient of ``seed``."""
    dice = _dice("patient", seed)
    return Patient(
        patient_id=f"GT-{seed:06d}",
        patient_name=f"{dice.choice(FAMILIES)}^{dice.choice(GIVEN)}",
        patient_birth_date=f"{dice.randint(1930, 2015)}{dice.randint(1, 12):02d}{dice.randint(1, 28):02d}",
        patient_sex=dice.choice("MFO"),
    )


def make_study(seed: int, number: int = 0, patient: Patient | None = None) -> Study:
    """Return study ``number`` of the patient of ``seed``."""
    dice = _dice("study", seed, number)
    return Study(
        study_uid=make_uid("study", seed, number),
        study_date=f"{dice.randint(2015, 2024)}{dice.randint(1, 12):02d}{dice.randint(1, 28):02d}",
        study_time=f"{dice.randint(0, 23):02d}{dice.randint(0, 59):02d}{dice.randint(0, 59):02d}",
        accession_number=f"A{seed:06d}{number:03d}",
        study_id=str(number + 1),
        study_description=f"Synthetic study {number + 1}",
        patient=patient or make_patient(seed),
    )


def make_series(study: Study, number: int = 1) -> Series:
    """Return series ``number`` of ``study``."""
    return Series(
        series_uid=make_uid("series", study.study_uid, number),
        series_number=number,
        series_description=f"Series {number}",
        study=study,
    )


def _dice(*names: object) -> random.Random:
    return random.Random(" ".join(map(str, names)))  # noqa: S311 - must repeat, not surprise


def transfer_syntaxes(kind: str) -> tuple[str, ...]:
    """Return every transfer syntax in which ``kind`` can be made."""
    plan = RECIPES[kind].plan
    if plan is None:
        return encoding.NATIVE
    return (*encoding.NATIVE, *(uid for uid in codecs.COMPRESSED if codecs.supports(uid, plan)))


def stream_series(
    series: Series,
    kind: str = "CT",
    *,
    instances: int = 1,
    transfer_syntax: str = EXPLICIT_LE,
    frames: int | None = None,
    size: tuple[int, int] | None = None,
    layout: encoding.Layout | None = None,
    painter: Painter | None = None,
    amend: Callable[[Dataset], None] | None = None,
) -> Iterator[Instance]:
    """Yield the instances of one series.

    ``kind`` is a key of ``RECIPES``; ``size`` is (rows, columns); ``painter`` draws pictures
    instead of the identity pattern; ``amend`` changes the data set of each instance before
    it is encoded. Raises ``ValueError`` for a transfer syntax that cannot carry the kind.
    """
    recipe = RECIPES[kind]
    if transfer_syntax not in transfer_syntaxes(kind):
        raise ValueError(f"{kind} cannot be made in {transfer_syntax}")
    plan = _plan(recipe, size, transfer_syntax)
    count = (frames or recipe.frames) if plan is not None else 0
    template: encoding.Template | None = None
    for number in range(1, instances + 1):
        sop_uid = make_uid("instance", series.series_uid, kind, number)
        item = modules.Item(series, recipe.sop_class_uid, sop_uid, number, recipe.modality, plan, count)
        if template is None or recipe.slices is None:
            template = _template(recipe, item, transfer_syntax, amend)
        pixels = b"" if plan is None else _pixels(item, plan, transfer_syntax, layout, painter)
        data_set = encoding.finish_data_set(template.render(_values(recipe, item)) + pixels, transfer_syntax)
        meta = encoding.file_meta(recipe.sop_class_uid, sop_uid, transfer_syntax)
        yield Instance(
            data=meta + data_set,
            data_set_offset=len(meta),
            sop_class_uid=recipe.sop_class_uid,
            sop_uid=sop_uid,
            transfer_syntax_uid=transfer_syntax,
            modality=recipe.modality,
            instance_number=number,
            series=series,
            frames=count,
            plan=plan,
            lossy=transfer_syntax in codecs.LOSSY,
            identified=plan is not None and painter is None,
        )


def generate_study(
    seed: int,
    modality: str = "CT",
    *,
    number: int = 0,
    series: int = 1,
    instances: int = 1,
    transfer_syntax: str = EXPLICIT_LE,
    patient: Patient | None = None,
    size: tuple[int, int] | None = None,
    frames: int | None = None,
) -> list[Instance]:
    """Return study ``number`` of the patient of ``seed``: ``series`` times ``instances`` objects."""
    study = make_study(seed, number, patient)
    return [
        instance
        for n in range(1, series + 1)
        for instance in stream_series(
            make_series(study, n),
            modality,
            instances=instances,
            transfer_syntax=transfer_syntax,
            size=size,
            frames=frames,
        )
    ]


def generate_priors(
    seed: int, modality: str = "CT", *, studies: int = 3, instances: int = 2
) -> list[Instance]:
    """Return several studies of one patient, at different dates."""
    patient = make_patient(seed)
    return [
        instance
        for n in range(studies)
        for instance in generate_study(seed, modality, number=n, instances=instances, patient=patient)
    ]


def _plan(recipe: Recipe, size: tuple[int, int] | None, transfer_syntax: str) -> PixelPlan | None:
    if recipe.plan is None:
        return None
    plan = recipe.plan if size is None else replace(recipe.plan, rows=size[0], columns=size[1])
    return codecs.compressed_plan(plan, transfer_syntax)


def _template(
    recipe: Recipe, item: modules.Item, transfer_syntax: str, amend: Callable[[Dataset], None] | None
) -> encoding.Template:
    ds = modules.common(item)
    recipe.fill(ds, item)
    if item.plan is not None:
        modules.image_pixel(ds, item.plan, item.frames, multiframe=recipe.multiframe)
        if transfer_syntax in codecs.LOSSY:
            ds.LossyImageCompression, ds.LossyImageCompressionRatio = "01", "10"
    if amend is not None:
        amend(ds)
    varying = [_SOP_INSTANCE_UID, _INSTANCE_NUMBER]
    if recipe.slices is not None:
        varying += [_POSITION, _LOCATION]
    return encoding.Template(ds, transfer_syntax, varying)


def _values(recipe: Recipe, item: modules.Item) -> dict[int, bytes]:
    values = {
        _SOP_INSTANCE_UID[0]: item.sop_uid.encode(),
        _INSTANCE_NUMBER[0]: str(item.instance_number).encode(),
    }
    if recipe.slices is not None:
        spacing, thickness = recipe.slices
        values[_POSITION[0]] = "\\".join(modules.position(item, spacing, thickness)).encode()
        values[_LOCATION[0]] = modules.slice_location(item.instance_number, thickness).encode()
    return values


def _pixels(
    item: modules.Item,
    plan: PixelPlan,
    transfer_syntax: str,
    layout: encoding.Layout | None,
    painter: Painter | None,
) -> bytes:
    uids = item.series.study.study_uid, item.series.series_uid, item.sop_uid
    first = FrameIdentity.of(*uids)
    frames = [
        draw_frame(replace(first, frame=n), plan)
        if painter is None
        else painter(item.instance_number, n, plan)
        for n in range(1, item.frames + 1)
    ]
    return encoding.pixel_element(frames, plan, transfer_syntax, layout)
