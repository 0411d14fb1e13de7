"""The web viewer's files under ``/viewer/``: static, the same for everybody, without patient data.

The folder is read once, at start, into a table from path to file. What is not in the table cannot
be served, whatever a path contains.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit

import orjson
from gantry_dicom.errors import NotFound
from gantry_telemetry.logs import get_logger
from gantry_web.app import TemplateRoute
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from gantry_gateway.entrypoints.credentials import SESSION_COOKIE

log = get_logger(__name__)

BASE = "/viewer"
INDEX, CONFIGURATION = "index.html", "app-config.js"

MEDIA_TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".jsonc": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webapp": "application/manifest+json",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
}
# The build puts a digest of the content into these names.
_NAMED_BY_CONTENT = re.compile(r"(.+\.)?[0-9a-f]{16}\.[a-z0-9]+")
FOR_EVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"
LOGIN_PAGE = "/auth/login"
# The auth service's own script renews the session before it ends.
_KEEP_SESSION = (
    b"{",
    b'  const script = document.createElement("script");',
    b'  script.src = "/auth/session.js";',
    b"  document.head.append(script);",
    b"}",
)
_INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of the viewer: where it is, compressed too if it is, and how it is sent."""

    file: Path
    compressed: Path | None
    media_type: str
    etag: str
    cache_control: str


def viewer_routes(folder: Path | None, public_base_url: str = "", *, login: bool = False) -> list[Route]:
    """Return the routes of the viewer in ``folder``; none without one, for the archive needs no viewer.

    With ``login`` the page is shown to who has a session, and keeps it going; others are sent to
    the login page under ``/auth``. The files hold no patient data; the data have their own guard.
    """
    if folder is None:
        return []
    if not (folder / INDEX).is_file():
        log.error("viewer_missing")
        return []
    assets = {name: asset for name, asset in _assets(folder) if name != CONFIGURATION}
    policy = content_security_policy((folder / INDEX).read_bytes(), public_base_url)
    headers = {
        "Content-Security-Policy": policy,
        "Cross-Origin-Opener-Policy": "same-origin",
        # The address of an open study is nobody else's business.
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
    answer = _endpoint(assets, configuration(login=login), headers, login=login)
    return [TemplateRoute(BASE, answer), TemplateRoute(BASE + "/{path:path}", answer)]


def content_security_policy(index: bytes, public_base_url: str = "") -> str:
    """Return the policy under which the viewer works.

    Scripts come from here only; those within the page are named by their digest. Text has to be
    evaluated: the decoders in WebAssembly (embind) and the reader of segmentations (ndarray) compile
    their inner loops. Styles are made by script, and documents are shown from blobs, in an element
    that is empty at first. ``public_base_url`` is the root of bulk data addresses where it is configured.
    """
    digests = [
        base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _INLINE_SCRIPT.findall(index)
    ]
    inline = " ".join(f"'sha256-{digest}'" for digest in digests)
    parts = urlsplit(public_base_url)
    elsewhere = f" {parts.scheme}://{parts.netloc}" if parts.netloc else ""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src 'self' 'unsafe-eval' {inline}".rstrip(),
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            f"connect-src 'self' data: blob:{elsewhere}",
            "worker-src 'self' blob:",
            "object-src 'self' blob:",
            "frame-src blob:",
            "media-src 'self' blob:",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'self'",
        ]
    )


def configuration(*, login: bool = False) -> bytes:
    """Return the viewer's settings as the script it loads: one data source, on the page's own origin."""
    source = {
        "friendlyName": "Gantry",
        "name": "gantry",
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "qidoSupportsIncludeField": False,
        "supportsFuzzyMatching": False,
        "supportsWildcard": True,
        "supportsReject": False,
        "dicomUploadEnabled": True,
        "bulkDataURI": {"enabled": True},
    }
    settings = {
        "name": "gantry",
        "routerBasename": BASE,
        "extensions": [],
        "modes": [],
        "customizationService": {},
        "showStudyList": True,
        "maxNumberOfWebWorkers": 3,
        "showLoadingIndicator": True,
        "strictZSpacingForVolumeViewport": True,
        "showErrorDetails": "production",
        # Not a medical device: whoever uses it is told, and says for how long that was enough.
        "investigationalUseDialog": {"option": "configure", "days": 30},
        "defaultDataSourceName": "gantry",
        "dataSources": [
            {
                "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
                "sourceName": "gantry",
                "configuration": source,
            }
        ],
    }
    return b"\n".join(
        [
            b"window.config = " + orjson.dumps(settings) + b";",
            b"{",
            b'  const root = window.location.origin + "/dicom-web";',
            b"  const source = window.config.dataSources[0].configuration;",
            b"  source.qidoRoot = source.wadoRoot = source.wadoUriRoot = root;",
            b"}",
            *(_KEEP_SESSION if login else ()),
            b"",
        ]
    )


def _assets(folder: Path) -> Iterator[tuple[str, Asset]]:
    root = folder.resolve()
    for file in sorted(root.rglob("*")):
        media_type = MEDIA_TYPES.get(file.suffix)
        # A link may point out of the folder; a file of another kind is none of the viewer's.
        if media_type is None or file.is_symlink() or not file.is_file():
            continue
        compressed = file.with_name(f"{file.name}.gz")
        for_ever = _NAMED_BY_CONTENT.fullmatch(file.name) is not None
        yield (
            str(PurePosixPath(file.relative_to(root))),
            Asset(
                file=file,
                compressed=compressed if compressed.is_file() and not compressed.is_symlink() else None,
                media_type=media_type,
                etag=file.name if for_ever else _digest(file.read_bytes()),
                cache_control=FOR_EVER if for_ever else ASK_AGAIN,
            ),
        )


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _endpoint(
    assets: Mapping[str, Asset], settings: bytes, headers: Mapping[str, str], *, login: bool
) -> Callable[[Request], Awaitable[Response]]:
    settings_etag = f'"{_digest(settings)}"'

    async def answer(request: Request) -> Response:
        path = request.path_params.get("path", "")
        if not path and not request.url.path.endswith("/"):
            query = f"?{request.url.query}" if request.url.query else ""
            return RedirectResponse(f"{BASE}/{query}", status_code=308, headers=headers)
        if path == CONFIGURATION:
            own = {**headers, "Cache-Control": ASK_AGAIN, "ETag": settings_etag}
            if _unchanged(request.headers, settings_etag):
                return Response(status_code=304, headers=own)
            return Response(settings, headers=own, media_type=MEDIA_TYPES[".js"])
        asset = assets.get(path)
        if asset is None:
            if "." in path.rpartition("/")[2]:
                raise NotFound("the viewer has no such file")
            # Whatever else is an address within the viewer, which reads it itself.
            asset = assets[INDEX]
        if login and asset is assets[INDEX] and not request.cookies.get(SESSION_COOKIE):
            return _to_login(request)
        return _send(request, asset, headers)

    return answer


def _to_login(request: Request) -> Response:
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    target = f"{LOGIN_PAGE}?next={quote(here, safe='')}"
    return RedirectResponse(target, status_code=303, headers={"Cache-Control": "no-store"})


def _send(request: Request, asset: Asset, headers: Mapping[str, str]) -> Response:
    file, etag = asset.file, f'"{asset.etag}"'
    own = {**headers, "Cache-Control": asset.cache_control}
    if asset.compressed is not None:
        own["Vary"] = "Accept-Encoding"
        if _takes_gzip(request.headers.get("accept-encoding", "")):
            file, etag = asset.compressed, f'"{asset.etag}.gz"'
            own["Content-Encoding"] = "gzip"
    own["ETag"] = etag
    if _unchanged(request.headers, etag):
        own.pop("Content-Encoding", None)
        return Response(status_code=304, headers=own)
    return FileResponse(file, headers=own, media_type=asset.media_type)


def _unchanged(headers: Headers, etag: str) -> bool:
    """Whether If-None-Match names this entity (RFC 9110 13.1.2, weak comparison)."""
    known = headers.get("if-none-match", "")
    return known.strip() == "*" or etag in {tag.strip().removeprefix("W/") for tag in known.split(",")}


def _takes_gzip(accept_encoding: str) -> bool:
    """Whether gzip is acceptable (RFC 9110 12.5.3)."""
    weights: dict[str, float] = {}
    for item in accept_encoding.lower().split(","):
        coding, _, parameter = item.partition(";")
        try:
            weights[coding.strip()] = float(parameter.strip().removeprefix("q=") or 1)
        except ValueError:
            weights[coding.strip()] = 0.0
    return weights.get("gzip", weights.get("*", 0.0)) > 0
