"""Synthetic studies: deterministic, plausible, and with pixels that say which frame they are.

What to use:

* ``generate_study(seed, "CT", series=2, instances=10)`` gives a list of ``Instance``;
  ``stream_series(...)`` gives an iterator with every option (transfer syntax, size, frames,
  offset tables, own pictures, amended attributes). Kinds are the keys of ``RECIPES``.
* ``generate_priors`` gives several studies of one patient, ``demo_patient`` pictures for people.
* ``read_identity(pixels)`` tells whose frame it is; ``Instance.identity(frame)`` whose it should be.
* ``mutations`` holds broken variants with the expected verdict, ``population`` thousands of
  small studies with known attributes for searches (``gantry_testing.truth``).
"""

from __future__ import annotations

from gantry_testing.synthetic.demo import demo_patient
from gantry_testing.synthetic.encoding import Layout
from gantry_testing.synthetic.identity import FrameIdentity, IdentityMismatch, read_identity
from gantry_testing.synthetic.plans import PixelPlan, SampleKind, native_frame
from gantry_testing.synthetic.recipes import RECIPES
from gantry_testing.synthetic.studies import (
    generate_priors,
    generate_study,
    make_patient,
    make_series,
    make_study,
    stream_series,
    transfer_syntaxes,
)
from gantry_testing.synthetic.values import Instance, Patient, Series, Study, make_uid

__all__ = [
    "RECIPES",
    "FrameIdentity",
    "IdentityMismatch",
    "Instance",
    "Layout",
    "Patient",
    "PixelPlan",
    "SampleKind",
    "Series",
    "Study",
    "demo_patient",
    "generate_priors",
    "generate_study",
    "make_patient",
    "make_series",
    "make_study",
    "make_uid",
    "native_frame",
    "read_identity",
    "stream_series",
    "transfer_syntaxes",
]
