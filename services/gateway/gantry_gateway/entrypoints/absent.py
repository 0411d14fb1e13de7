"""What is answered where nothing is: never there, or there once (PS3.18 8.5: 404 and 410)."""

from __future__ import annotations

from gantry_dicom.errors import GantryError, Gone, NotFound
from starlette.requests import Request

from gantry_gateway.entrypoints.context import components, partition_of, uid_of


async def absence(request: Request) -> GantryError:
    """Return the error for a path under which nothing is shown; the caller raises it."""
    study_uid = uid_of(request, "study")
    if study_uid is not None:
        series_uid, sop_uid = uid_of(request, "series"), uid_of(request, "instance")
        if await components(request).index.is_hidden(partition_of(request), study_uid, series_uid, sop_uid):
            return Gone("what was stored under these UIDs has been deleted")
    return NotFound("nothing is stored under these UIDs")
