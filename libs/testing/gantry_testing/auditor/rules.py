"""The invariants of the ack contract, as one pure function over what was gathered."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta

from gantry_testing.auditor.values import (
    Answer,
    Evidence,
    Finding,
    Identity,
    IndexedInstance,
    ManifestLine,
    SentInstance,
)

INDEXED, DUPLICATE, LOSER = "indexed", "duplicate", "conflict-loser"
DECIDED = frozenset({INDEXED, DUPLICATE, LOSER, "quarantined", "tombstoned"})


def judge(sent: Sequence[SentInstance], evidence: Evidence, orphan_age: timedelta) -> tuple[Finding, ...]:
    """Return every invariant that does not hold.

    * acknowledged: in a manifest, byte-equal in the store and through WADO-RS, and decided
      (indexed, duplicate of an indexed one, loser of a conflict, quarantined);
    * refused: in no index;
    * every object older than ``orphan_age`` is named by a manifest;
    * the index agrees with itself: one winner an instance, verdicts and rows alike, counts right.
    """
    return (
        *(
            Finding("record-unreadable", key, "a manifest does not open")
            for key in evidence.unreadable_records
        ),
        *_acknowledged(sent, evidence),
        *_objects_of_lines(evidence),
        *_refused(sent, evidence),
        *_orphans(evidence, orphan_age),
        *_verdicts(evidence),
        *_served(sent, evidence),
        *evidence.miscounts,
    )


def _identity(thing: SentInstance | ManifestLine | IndexedInstance) -> Identity:
    return thing.partition, thing.study_uid, thing.sop_uid


def _subject(thing: SentInstance | ManifestLine | IndexedInstance) -> str:
    return f"{thing.partition}/{thing.study_uid}/{thing.sop_uid}"


def _acknowledged(sent: Sequence[SentInstance], evidence: Evidence) -> Iterator[Finding]:
    """Every acknowledgement has a manifest line of its own with the same data set, and a verdict.

    A line that nobody was answered for may have none: its object may have come after it was looked for.
    """
    lines: dict[tuple[Identity, str], list[ManifestLine]] = defaultdict(list)
    for line in {line.object_key: line for line in evidence.lines if not line.refused}.values():
        if _is_void(line, evidence):
            continue  # it is nobody's acknowledgement
        lines[_identity(line), line.data_set_sha256].append(line)
    acknowledged = [item for item in sent if item.answer is Answer.ACKNOWLEDGED]
    told = Counter((_identity(item), item.data_set_sha256) for item in acknowledged)
    for item in {(_identity(i), i.data_set_sha256): i for i in acknowledged}.values():
        key = _identity(item), item.data_set_sha256
        found = lines.get(key, [])
        if len(found) < told[key]:
            detail = f"{told[key]} acknowledgements, {len(found)} manifest lines"
            yield Finding("acknowledged-in-manifest", _subject(item), detail)
        for line in found:
            if not _is_decided(line, evidence):
                verdict = evidence.verdicts.get(line.object_key)
                state = "no verdict" if verdict is None else verdict.state
                yield Finding("acknowledged-decided", _subject(item), f"{line.object_key}: {state}")
    yield from _acknowledged_digests(told, evidence)


def _is_decided(line: ManifestLine, evidence: Evidence) -> bool:
    verdict = evidence.verdicts.get(line.object_key)
    return verdict is not None and verdict.state in DECIDED


def _is_void(line: ManifestLine, evidence: Evidence) -> bool:
    """Whether nobody was answered for it and nothing came of it."""
    return line.unanswered and not (line.object_key in evidence.objects and _is_decided(line, evidence))


def _acknowledged_digests(told: Counter[tuple[Identity, str]], evidence: Evidence) -> Iterator[Finding]:
    """Of every acknowledged instance something is found by searches, unless it is in quarantine."""
    shown = {_identity(instance) for instance in evidence.instances}
    withheld = {
        (verdict.partition, verdict.study_uid, verdict.sop_uid)
        for verdict in evidence.verdicts.values()
        if verdict.state in {"quarantined", "tombstoned"}
    }
    for identity in {identity for identity, _ in told} - shown - withheld:
        yield Finding("acknowledged-searchable", "/".join(identity), "not among the instances of the index")


def _objects_of_lines(evidence: Evidence) -> Iterator[Finding]:
    for line in evidence.lines:
        if line.refused:
            continue
        if line.object_key in evidence.destroyed:
            if line.object_key in evidence.objects:
                yield Finding("object-destroyed", line.object_key, "certified as destroyed, and in the store")
            continue
        if line.object_key not in evidence.objects:
            if not line.unanswered:
                yield Finding("object-present", line.object_key, "named by a manifest but not in the store")
            continue
        content = evidence.contents.get(line.object_key)
        if content is None:
            continue
        if content.data_set_sha256 != line.data_set_sha256 or content.size != line.size:
            yield Finding("object-bytes", line.object_key, "bytes differ from the manifest's digest or size")


def _refused(sent: Sequence[SentInstance], evidence: Evidence) -> Iterator[Finding]:
    """What was refused is in no index, unless only a sweeper was left to write its manifest.

    A store that took the object and failed to say so, and then a receiver that could not say for a
    whole lease that it had refused it: docs/reliability.md calls that unanswered.
    """
    allowed = {(_identity(i), i.data_set_sha256) for i in sent if i.answer is not Answer.REFUSED}
    told = {(_identity(i), i.data_set_sha256): i.told for i in sent if i.answer is Answer.REFUSED}
    refused = told.keys() - allowed
    swept = {line.object_key for line in evidence.lines if line.swept}
    for instance in evidence.instances:
        content = _identity(instance), instance.data_set_sha256
        if content in refused and instance.object_key not in swept:
            detail = f"{instance.object_key}, told {told[content] or 'a failure'}"
            yield Finding("refused-in-no-index", _subject(instance), detail)
    refused_keys = {line.object_key for line in evidence.lines if line.refused} - swept
    for verdict in evidence.verdicts.values():
        identity = verdict.partition, verdict.study_uid, verdict.sop_uid
        is_refused = (identity, verdict.data_set_sha256) in refused and verdict.object_key not in swept
        if is_refused or verdict.object_key in refused_keys:
            yield Finding("refused-in-no-index", "/".join(identity), f"{verdict.object_key}: {verdict.state}")


def _orphans(evidence: Evidence, orphan_age: timedelta) -> Iterator[Finding]:
    named = {line.object_key for line in evidence.lines}
    for key, stored in evidence.objects.items():
        age = evidence.now - stored.last_modified
        if key.startswith("o/") and key not in named and age > orphan_age:
            yield Finding("object-in-manifest", key, f"in no manifest after {age.total_seconds():.0f} s")


def _verdicts(evidence: Evidence) -> Iterator[Finding]:
    by_key = {instance.object_key: instance for instance in evidence.instances}
    for verdict in evidence.verdicts.values():
        row = by_key.get(verdict.object_key)
        if (verdict.state == INDEXED) is not (row is not None):
            seen = "has" if row is not None else "has no"
            yield Finding("verdict-agrees", verdict.object_key, f"{verdict.state}, but {seen} instance row")
        if row is not None and row.data_set_sha256 != verdict.data_set_sha256:
            yield Finding("verdict-agrees", verdict.object_key, "verdict and instance row differ in digest")
        if verdict.state in {DUPLICATE, LOSER}:
            yield from _survivor(evidence, verdict.object_key)
    for instance in evidence.instances:
        if instance.object_key not in evidence.verdicts:
            yield Finding("verdict-agrees", instance.object_key, "an instance row without a verdict")
        if instance.object_key not in evidence.objects:
            yield Finding("object-present", instance.object_key, "indexed but not in the store")


def _survivor(evidence: Evidence, object_key: str) -> Iterator[Finding]:
    verdict = evidence.verdicts[object_key]
    survivor = evidence.verdicts.get(verdict.survivor_key or "")
    if survivor is None or survivor.state not in {INDEXED, "quarantined", "tombstoned"}:
        state = "missing" if survivor is None else survivor.state
        yield Finding("survivor-stands", object_key, f"{verdict.state}, its survivor is {state}")
    elif verdict.state == DUPLICATE and survivor.data_set_sha256 != verdict.data_set_sha256:
        yield Finding("survivor-stands", object_key, "called a duplicate of other bytes")


# PS3.18 8.7.3: web services give neither Implicit VR Little Endian nor Explicit VR Big Endian.
_NEVER_SENT = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.2"})


def _served(sent: Sequence[SentInstance], evidence: Evidence) -> Iterator[Finding]:
    """WADO-RS gives the bytes of the reception that came first (keep-first)."""
    files: dict[tuple[Identity, str], set[str | None]] = defaultdict(set)
    for item in sent:
        files[_identity(item), item.data_set_sha256].add(item.file_sha256)
    first: dict[Identity, ManifestLine] = {}
    for line in sorted(evidence.lines, key=lambda line: line.order_key):
        if not line.refused and not _is_void(line, evidence):
            first.setdefault(_identity(line), line)
    for identity, served in evidence.served.items():
        winner = first.get(identity)
        subject = "/".join(identity)
        if served.content is None:
            yield Finding("served", subject, f"WADO-RS answered {served.status}")
        elif winner is None:
            yield Finding("served", subject, "WADO-RS answered what no manifest names")
        elif winner.transfer_syntax_uid in _NEVER_SENT:
            continue  # given as Explicit VR Little Endian; the object at rest has a rule of its own
        elif served.content.data_set_sha256 != winner.data_set_sha256:
            yield Finding("served", subject, f"the data set is not the first received ({winner.object_key})")
        else:
            sent_files = files.get((identity, winner.data_set_sha256), {None})
            if None not in sent_files and served.content.file_sha256 not in sent_files:
                yield Finding("served", subject, "the data set is right, the bytes before it are not")
