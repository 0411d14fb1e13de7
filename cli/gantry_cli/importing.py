"""``gantry import``: the command around the import."""

from __future__ import annotations

import tempfile
from pathlib import Path

import httpx

from gantry_cli.access import AccessOptions, dicomweb_base
from gantry_cli.exits import FAILED, OK
from gantry_cli.importer import store_all
from gantry_cli.sources import Skipped, files_under, is_url, parts_of_url
from gantry_cli.terminal import Progress, say

ANSWER_SECONDS = 120.0


def import_(access: AccessOptions, source: str, target: str | None) -> int:
    """Send everything at ``source`` to the running stack, or to the DICOMweb base ``target``.

    The exit code is not 0 when something was refused or could not be read.
    """
    url, auth = dicomweb_base(access, target)
    skipped = Skipped()
    with (
        httpx.Client(timeout=ANSWER_SECONDS, auth=auth) as client,
        # Who stores here is nothing to the archive that the instances come from.
        httpx.Client(timeout=ANSWER_SECONDS) as other,
        tempfile.TemporaryDirectory(prefix="gantry-import-") as folder,
    ):
        if is_url(source):
            parts = parts_of_url(source, other, Path(folder))
        else:
            parts = files_under(Path(source), skipped)
        summary = store_all(client, url, parts, Progress("STOW-RS"))
    for line in (*summary.lines(), *skipped.lines()):
        say(line)
    return FAILED if summary.refused or skipped.unreadable else OK
