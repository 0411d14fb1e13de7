"""Studies, series and instances as a zip archive of files (PS3.18 8.7.3.1, Supplement 211)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from gantry_index.records import StoredInstance
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gantry_gateway.outgoing import Part, parts_in_order
from gantry_gateway.representations import ZIP
from gantry_gateway.zip_stream import zip_stream


async def respond_with_zip(request: Request, given: Sequence[tuple[StoredInstance, Part]]) -> Response:
    """Answer instances as files ``<study>/<series>/<instance>.dcm`` of one archive."""
    names = [f"{instance.study_uid}/{instance.series_uid}/{instance.sop_uid}.dcm" for instance, _ in given]
    chunks = _archive(names, [part for _, part in given])
    first = await anext(chunks, b"")
    headers = {
        "Content-Type": ZIP,
        "Content-Disposition": f'attachment; filename="{given[0][0].study_uid}.zip"',
        "Vary": "Accept",
    }
    if request.method == "HEAD":
        return Response(headers=headers)

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return StreamingResponse(whole(), headers=headers)


async def _archive(names: Sequence[str], parts: Sequence[Part]) -> AsyncIterator[bytes]:
    async with aclosing(parts_in_order(parts)) as made:
        async for chunk in zip_stream(names, made):
            if chunk:
                yield chunk
