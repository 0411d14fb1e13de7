"""``gantry import``: send instances by STOW-RS in batches, and say what was refused."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from gantry_dicom.element_headers import Malformed
from gantry_dicom.part10 import MEDIA_STORAGE_SOP_INSTANCE_UID, parse_meta
from gantry_dicom.refusals import Refusal

from gantry_cli.stow import Part, send
from gantry_cli.terminal import Progress

BATCH_COUNT = 32
BATCH_BYTES = 32 << 20
META_BYTES = 4096
# One request's instances are indexed while the next one's travel.
REQUESTS_AT_ONCE = 2
# Two refusals may share a code; the table's first is the more general one.
REASONS = {refusal.failure_reason: refusal.text for refusal in reversed(Refusal)}


@dataclass(slots=True)
class Summary:
    """What became of an import. ``refused`` holds (label, reason) pairs."""

    sent: int = 0
    stored: int = 0
    warned: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)

    def add(self, other: Summary) -> None:
        """Count what ``other`` counted."""
        self.sent += other.sent
        self.stored += other.stored
        self.warned += other.warned
        self.refused += other.refused

    def lines(self, limit: int = 20) -> Iterator[str]:
        """Yield the summary for the user: counts, reasons, and the first refused ones by name."""
        yield f"{self.stored} of {self.sent} instances stored" + (
            f", {self.warned} with a warning" if self.warned else ""
        )
        if self.refused:
            yield f"{len(self.refused)} refused:"
            for reason, count in Counter(reason for _, reason in self.refused).most_common():
                yield f"  {count} × {reason}"
            for label, reason in self.refused[:limit]:
                yield f"  {label}: {reason}"
            if len(self.refused) > limit:
                yield f"  and {len(self.refused) - limit} more"


def store_all(client: httpx.Client, url: str, parts: Iterable[Part], progress: Progress) -> Summary:
    """Send every part to the DICOMweb base ``url``; a refusal does not end the import.

    Raises ``Unavailable`` when the archive does not answer for long.
    """
    summary = Summary()
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        waiting: deque[tuple[list[Part], Future[Summary]]] = deque()
        for batch in batches(parts):
            if len(waiting) == REQUESTS_AT_ONCE:
                _collect(*waiting.popleft(), summary, progress)
            waiting.append((batch, pool.submit(_store_batch, client, f"{url}/studies", batch)))
        while waiting:
            _collect(*waiting.popleft(), summary, progress)
    progress.finish()
    return summary


def _collect(batch: list[Part], future: Future[Summary], summary: Summary, progress: Progress) -> None:
    summary.add(future.result())
    progress.advance(len(batch), sum(part.size for part in batch))
    for part in batch:
        part.discard()


def batches(parts: Iterable[Part]) -> Iterator[list[Part]]:
    """Group parts into requests: at most ``BATCH_COUNT``, and about ``BATCH_BYTES`` unless one is larger."""
    batch: list[Part] = []
    size = 0
    for part in parts:
        if batch and (len(batch) == BATCH_COUNT or size + part.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(part)
        size += part.size
    if batch:
        yield batch


def _store_batch(client: httpx.Client, url: str, batch: list[Part]) -> Summary:
    answer = send(client, url, batch)
    labels = _labels(batch)
    refused_uids = {uid for uid, _ in answer.refused}
    if len(batch) > 1 and (answer.problem or answer.unnamed or refused_uids - labels.keys()):
        # The answer does not tell who was refused: asked one by one, everybody gets a name.
        # What is stored already is stored again with the same bytes, which changes nothing.
        summary = Summary()
        for part in batch:
            summary.add(_store_batch(client, url, [part]))
        return summary
    refused = [(labels.get(uid, batch[0].label), text_of(reason)) for uid, reason in answer.refused]
    refused += [(batch[0].label, text_of(reason)) for reason in answer.unnamed]
    if answer.problem:
        refused.append((batch[0].label, answer.problem))
    return Summary(len(batch), len(batch) - len(refused), answer.warned, refused)


def _labels(batch: list[Part]) -> dict[str, str]:
    """Return the label of each SOP Instance UID that exactly one part of the batch claims."""
    claims = [(sop_instance_uid(part), part.label) for part in batch]
    counts = Counter(uid for uid, _ in claims)
    return {uid: label for uid, label in claims if uid is not None and counts[uid] == 1}


def text_of(reason: int) -> str:
    """Return a Failure Reason (0008,1197) in words, from the one table of refusals where it is there."""
    return REASONS.get(reason, "refused") + f" (0x{reason:04X})"


def sop_instance_uid(part: Part) -> str | None:
    """Return the SOP Instance UID that the file claims, None without a File Meta group."""
    if isinstance(part.content, Path):
        with part.content.open("rb") as stream:
            beginning = stream.read(META_BYTES)
    else:
        beginning = part.content[:META_BYTES]
    try:
        return parse_meta(beginning).text(MEDIA_STORAGE_SOP_INSTANCE_UID)
    except Malformed:
        return None
