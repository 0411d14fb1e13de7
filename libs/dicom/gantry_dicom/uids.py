"""Unique identifiers (PS3.5 6.2 "UI", 9.1)."""

from __future__ import annotations

import re
import uuid

MAX_UID_LENGTH = 64
MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"

# Gantry's own, for the File Meta group it writes (PS3.10 7.1), under the UUID root (PS3.5 B.2).
IMPLEMENTATION_CLASS_UID = "2.25.185330347124777000009299210944607696619"
IMPLEMENTATION_VERSION_NAME = "GANTRY"

_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)
_LEADING_ZERO = re.compile(r"(?:^|\.)0[0-9]")


def trim_uid(text: str) -> str:
    """Return ``text`` without padding: trailing NULs (the rule) and spaces (met in practice)."""
    return text.strip("\0 ")


def is_valid_uid(text: str) -> bool:
    """Whether ``text`` can be a UID: at most 64 characters, digits in components joined by dots.

    A component with a leading zero breaks PS3.5 9.1 but is met in real archives and harmless,
    so it passes; ``has_leading_zero`` tells.
    """
    return len(text) <= MAX_UID_LENGTH and _UID.fullmatch(text) is not None


def has_leading_zero(text: str) -> bool:
    """Whether a component of the UID begins with a zero that PS3.5 9.1 forbids."""
    return _LEADING_ZERO.search(text) is not None


def assigned_uid(kind: str, sop_instance_uid: str) -> str:
    """Return the UID that stands for a missing Study or Series Instance UID of an instance.

    It depends on the instance alone, so every reading of the object gives the same, and no
    two instances without one are ever taken for the same study (PS3.5 B.2: UUID-derived).
    """
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{kind} of {sop_instance_uid}').int}"
