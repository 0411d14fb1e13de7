"""``gantry import``: the command around the import."""

from __future__ import annotations

import tempfile
from pathlib import Path

import httpx

from gantry_cli.access import AccessOptions, script_access
from gantry_cli.exits import FAILED, OK
from gantry_cli.importer import store_all
from gantry_cli.lifecycle import facts_of
from gantry_cli.sources import Skipped, files_under, is_url, parts_of_url
from gantry_cli.terminal import Progress, say
from gantry_cli.tokens import BearerAuth

ANSWER_SECONDS = 120.0


def import_(access: AccessOptions, source: str, target: str | None) -> int:
    """Send everything at ``source`` to the running stack, or to the DICOMweb base ``target``.

    The exit code is not 0 when something was refused or could not be read.
    """
    url, auth = _destination(access, target)
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


def _destination(access: AccessOptions, target: str | None) -> tuple[str, BearerAuth | None]:
    """Return the DICOMweb base to store to, and what to show there."""
    if target is not None:
        named = access.given_token or access.client
        return target.rstrip("/"), BearerAuth(script_access(access)) if named else None
    facts = facts_of(access.state)
    return facts.dicomweb_url, BearerAuth(script_access(access)) if facts.issuer else None
