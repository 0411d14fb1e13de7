"""Bytes that proved damaged, kept beside the object that took their place.

q/<partition>/<hh>/<batch>/<ordinal>-<ulid>   what lay at o/<partition>/<hh>/<batch>/<ordinal>
q/<partition>/<day>/<batch>-<ulid>            what lay at m/<partition>/<day>/<batch>
"""

from __future__ import annotations

from gantry_dicom.errors import NotFound

from gantry_objectstore.errors import BadKey
from gantry_objectstore.keys import MANIFEST_PREFIX, OBJECT_PREFIX, check_key, new_batch_id
from gantry_objectstore.protocol import ObjectStore

ASIDE_PREFIX = "q/"


def aside_key(key: str) -> str:
    """Return a fresh key for what lies at ``key`` of an object or manifest. Raises ``BadKey``."""
    for prefix in (OBJECT_PREFIX, MANIFEST_PREFIX):
        if key.startswith(prefix):
            return check_key(f"{ASIDE_PREFIX}{key.removeprefix(prefix)}-{new_batch_id()}")
    raise BadKey("only objects and manifests are put aside")


async def set_aside(store: ObjectStore, key: str) -> str:
    """Copy what lies at ``key`` and return the copy's key; empty when nothing lies there.

    Raises ``BadKey`` and ``Unavailable``.
    """
    copy = aside_key(key)
    try:
        await store.head(key)
        await store.put_large(copy, store.stream(key))
    except NotFound:
        return ""
    return copy


async def copies_aside(store: ObjectStore, object_key: str) -> list[str]:
    """Return the keys of what was put aside of an object: a purge has to take them too.

    Raises ``Unavailable``.
    """
    folder, name = object_key.removeprefix(OBJECT_PREFIX).rsplit("/", 1)
    found = [info.key async for info in store.list(f"{ASIDE_PREFIX}{folder}/")]
    return sorted(key for key in found if key.rsplit("/", 1)[-1].startswith(f"{name}-"))
