"""Studies, series and instances as a zip archive of files (PS3.18 8.7.3.1, Supplement 211).

With ``dicomdir=true`` in the query, our extension, the archive is a file-set with a DICOMDIR.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from gantry_dicom.errors import BadRequest
from gantry_dicom.facts import BASE_MARK
from gantry_index.records import StoredInstance
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gantry_gateway.entrypoints.context import components, partition_of, uid_of
from gantry_gateway.outgoing import Made, Part, parts_in_order
from gantry_gateway.representations import ZIP, labelled_syntax
from gantry_gateway.transcode_jobs import directory_of
from gantry_gateway.zip_stream import zip_stream

_PARAMETER = "dicomdir"
_DICOMDIR = "DICOMDIR"


async def respond_with_zip(request: Request, given: Sequence[tuple[StoredInstance, Part]]) -> Response:
    """Answer instances as files ``<study>/<series>/<instance>.dcm`` of one archive."""
    wished = request.query_params.get(_PARAMETER, "false").lower()
    if wished not in ("true", "false"):
        raise BadRequest(f"{_PARAMETER} is true or false")
    with_dicomdir = wished == "true"
    instances = [instance for instance, _ in given]
    if with_dicomdir:
        file_ids = _file_ids(instances)
        names = ["/".join(file_id) for file_id in file_ids] + [_DICOMDIR]
        files = _with_dicomdir(request, instances, file_ids, parts_in_order(part for _, part in given))
    else:
        names = [f"{one.study_uid}/{one.series_uid}/{one.sop_uid}.dcm" for one in instances]
        files = parts_in_order(part for _, part in given)
    chunks = _archive(names, files)
    first = await anext(chunks, b"")
    headers = {
        "Content-Type": ZIP,
        "Content-Disposition": f'attachment; filename="{instances[0].study_uid}.zip"',
        "Vary": "Accept",
    }
    if request.method == "HEAD":
        await chunks.aclose()
        return Response(headers=headers)

    async def whole() -> AsyncIterator[bytes]:
        async with aclosing(chunks):
            yield first
            async for chunk in chunks:
                yield chunk

    return StreamingResponse(whole(), headers=headers)


async def _archive(names: Sequence[str], files: AsyncGenerator[Made, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(files):
        async for chunk in zip_stream(names, files):
            if chunk:
                yield chunk


def _file_ids(instances: Sequence[StoredInstance]) -> list[tuple[str, ...]]:
    """Return a File ID for each instance: at most eight of few characters a part (PS3.10 8.2)."""
    series: dict[str, int] = {}
    return [
        (
            "ST000001",
            f"SE{series.setdefault(instance.series_uid, len(series) + 1):06d}",
            f"IM{number:06d}",
        )
        for number, instance in enumerate(instances, 1)
    ]


async def _with_dicomdir(
    request: Request,
    instances: Sequence[StoredInstance],
    file_ids: Sequence[tuple[str, ...]],
    files: AsyncGenerator[Made, None],
) -> AsyncGenerator[Made, None]:
    """Yield the files, then the DICOMDIR that lists them as they turned out to be."""
    syntaxes = []
    async with aclosing(files):
        async for made in files:
            syntaxes.append(labelled_syntax(made.content_type))
            yield made
    parts = components(request)
    study_uid, series_uid, sop_uid = (uid_of(request, name) for name in ("study", "series", "instance"))
    answer = await parts.index.metadata(partition_of(request), study_uid or "", series_uid, sop_uid)
    entries = {
        instance.sop_uid: (file_id, syntax)
        for instance, file_id, syntax in zip(instances, file_ids, syntaxes, strict=True)
    }
    documents = [document.replace(BASE_MARK, b"") for document in answer.objects]
    directory = await parts.workers.run(directory_of, documents, entries)
    yield Made(directory, "application/dicom")
