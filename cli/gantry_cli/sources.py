"""Where ``gantry import`` finds instances: files and folders, or another archive's DICOMweb."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from gantry_dicom.element_headers import Malformed
from gantry_dicom.errors import BadRequest, NotFound, Unavailable
from gantry_dicom.part10 import MEDIA_STORAGE_SOP_CLASS_UID, parse_meta

from gantry_cli.multipart import read_parts
from gantry_cli.stow import Part

PREFIX_OFFSET = 128
# Groups 0002 and 0008, little endian.
FIRST_GROUPS = (b"\x02\0", b"\x08\0")
# Media Storage Directory (PS3.4 B.5.1 leaves it out): a DICOMDIR lists instances and is none.
DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
META_BYTES = 4096
ANY_SYNTAX = 'multipart/related; type="application/dicom"; transfer-syntax=*'
READ_SECONDS = 300.0
ANSWERS = (200, 206)
CHUNK = 1 << 20


@dataclass(slots=True)
class Skipped:
    """Counts of what was found and not sent."""

    not_dicom: int = 0
    directories: int = 0
    unreadable: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Yield what to tell the user."""
        if self.not_dicom:
            yield f"{self.not_dicom} files are not DICOM"
        if self.directories:
            yield f"{self.directories} DICOMDIR left out"
        yield from (f"cannot read {name}" for name in self.unreadable)


def is_url(source: str) -> bool:
    """Whether the argument names an archive rather than a path."""
    return source.startswith(("http://", "https://"))


def files_under(path: Path, skipped: Skipped) -> Iterator[Part]:
    """Yield every DICOM file under a folder, or the file itself, in a stable order.

    A file counts as DICOM when it has the prefix of PS3.10 7.1, or begins with an element of group 0002 or
    0008 as files written without preamble do. Raises ``NotFound``.
    """
    if not path.exists():
        raise NotFound(f"{path} does not exist")
    for file in [path] if path.is_file() else _walk(path):
        try:
            with file.open("rb") as stream:
                beginning = stream.read(META_BYTES)
        except OSError as error:
            skipped.unreadable.append(f"{file}: {error.strerror}")
            continue
        if not _is_dicom(beginning):
            skipped.not_dicom += 1
        elif _is_directory(beginning):
            skipped.directories += 1
        else:
            yield Part(str(file), file)


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            file = Path(parent, name)
            if file.is_file():
                yield file


def _is_dicom(beginning: bytes) -> bool:
    if beginning[PREFIX_OFFSET : PREFIX_OFFSET + 4] == b"DICM":
        return True
    if len(beginning) <= PREFIX_OFFSET:
        return False
    group, element = beginning[:2], beginning[2:4]
    if group in FIRST_GROUPS:
        return element[1:] == b"\0"
    # Big endian, which is always explicit: a VR follows the tag.
    return group[::-1] in FIRST_GROUPS and element[:1] == b"\0" and beginning[4:6].isupper()


def _is_directory(beginning: bytes) -> bool:
    try:
        return parse_meta(beginning).text(MEDIA_STORAGE_SOP_CLASS_UID) == DIRECTORY_CLASS
    except Malformed:
        return False


def parts_of_url(url: str, client: httpx.Client, folder: Path) -> Iterator[Part]:
    """Yield the instances that a WADO-RS study, series or instance URL answers with, as files in ``folder``.

    Raises ``BadRequest`` when the URL answers something else, ``Unavailable`` when it does not answer.
    """
    headers = {"Accept": ANY_SYNTAX}
    try:
        with client.stream("GET", url, headers=headers, timeout=READ_SECONDS) as response:
            if response.status_code not in ANSWERS:
                raise BadRequest(f"{url} answered HTTP {response.status_code}")
            chunks = response.iter_bytes(CHUNK)
            parts = read_parts(response.headers.get("content-type", ""), chunks, folder)
            for number, file in enumerate(parts, 1):
                yield Part(f"{url} part {number}", file, temporary=True)
    except httpx.HTTPError as error:
        raise Unavailable(f"{url} does not answer: {error}") from error
