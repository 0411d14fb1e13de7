"""Every check there is."""

from __future__ import annotations

from gantry_cli.conformance import (
    commitment,
    common,
    common_answers,
    deletion,
    qido_answers,
    qido_matching,
    qido_paging,
    rendered_images,
    rendered_others,
    stow_answers,
    stow_bodies,
    stow_metadata,
    wado_bulk,
    wado_frames,
    wado_load,
    wado_metadata,
    wado_objects,
    wado_uri,
)
from gantry_cli.conformance.statements import Check, checks_of

CHECKS: tuple[Check, ...] = tuple(
    checks_of(
        common,
        common_answers,
        deletion,
        stow_answers,
        stow_bodies,
        stow_metadata,
        qido_answers,
        qido_matching,
        qido_paging,
        rendered_images,
        rendered_others,
        wado_objects,
        wado_frames,
        wado_metadata,
        wado_bulk,
        wado_load,
        wado_uri,
        commitment,
    )
)
