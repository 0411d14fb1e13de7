"""Where bytes rest: ``open_store`` gives the store that a URL names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from gantry_objectstore.errors import SettingsError
from gantry_objectstore.files import FileStore
from gantry_objectstore.protocol import (
    MAX_SINGLE_PUT_BYTES,
    STREAM_CHUNK_BYTES,
    Buffer,
    Data,
    ObjectInfo,
    ObjectStore,
)
from gantry_objectstore.s3 import S3Store
from gantry_objectstore.settings import StoreSettings

__all__ = [
    "MAX_SINGLE_PUT_BYTES",
    "STREAM_CHUNK_BYTES",
    "Buffer",
    "Data",
    "FileStore",
    "ObjectInfo",
    "ObjectStore",
    "S3Store",
    "StoreSettings",
    "open_store",
]


def open_store(url: str, *, options: StoreSettings | None = None) -> ObjectStore:
    """Return the store at ``url``; nothing is asked of a server yet. Raises ``SettingsError``.

    ``s3://bucket[/prefix]?endpoint=http://host:port&region=...&style=path|virtual`` or
    ``file:///folder``. One process opens one store and shares it: the byte budget of uploads
    is the store's. Credentials come from ``options``, by default from the environment.
    """
    settings = options or StoreSettings.from_environment()
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.path.startswith("/") and not parts.netloc and not parts.query:
        return FileStore(Path(unquote(parts.path)), settings)
    if parts.scheme == "s3" and parts.netloc:
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        style = query.get("style", "path")
        if set(query) <= {"endpoint", "region", "style"} and style in ("path", "virtual"):
            return S3Store(
                parts.netloc,
                settings,
                prefix=parts.path.strip("/"),
                endpoint=query.get("endpoint", ""),
                region=query.get("region", "us-east-1"),
                virtual_hosts=style == "virtual",
            )
    raise SettingsError("the object store is s3://bucket?endpoint=... or file:///folder")
