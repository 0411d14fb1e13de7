"""A structured report as HTML and as plain text (PS3.18 8.7.4: text/html is the default)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from gantry_dicom.uids import is_valid_uid

from gantry_gateway.structured_reports import ContentItem, Reference, Report

HTML = "text/html"
PLAIN = "text/plain"
# Nothing runs and nothing is fetched; the page brings its own style.
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"

_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.2em 1em}dt{color:#666}dd{margin:0}"
    "section section{border-left:2px solid #ddd;padding-left:1em}"
    ".name{font-weight:600}.value{white-space:pre-wrap}h1,h2,h3,h4,h5,h6{margin:1em 0 .3em}"
    ".relationship{color:#666;font-size:.85em}"
)
_DEEPEST_HEADING = 6
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def report_html(report: Report, base_url: str) -> bytes:
    """Return the report as an HTML page, UTF-8; references are links below ``base_url``."""
    header = "".join(f"<dt>{_safe(label)}</dt><dd>{_safe(text)}</dd>" for label, text in report.header)
    title = _safe(report.title)
    body = "".join(_html(report.root, base_url, 1))
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1><dl>{header}</dl>{body}</body></html>"
    ).encode()


def report_text(report: Report) -> bytes:
    """Return the report as indented plain text, UTF-8."""
    lines = [report.title, "=" * len(report.title), ""]
    lines += [f"{label}: {text}" for label, text in report.header]
    lines += ["", *_text_lines(report.root, 0)]
    return ("\n".join(lines) + "\n").encode()


def _html(item: ContentItem, base_url: str, depth: int) -> Iterator[str]:
    links = " ".join(_link(reference, base_url) for reference in item.references)
    anchor = f'id="item-{item.position}"'
    if item.value_type == "CONTAINER":
        yield f"<section {anchor}>"
        if depth > 1 and item.name:
            level = min(depth, _DEEPEST_HEADING)
            yield f"<h{level}>{_safe(item.name)}</h{level}>"
        yield links
        for child in item.children:
            yield from _html(child, base_url, depth + 1)
        yield "</section>"
        return
    tag = "section" if item.children else "div"
    yield f"<{tag} {anchor}>"
    if item.relationship and item.relationship != "CONTAINS":
        yield f'<span class="relationship">{_safe(item.relationship.lower())}</span> '
    if item.name:
        yield f'<span class="name">{_safe(item.name)}:</span> '
    if item.value.startswith("see item ") and not item.value_type:
        number = item.value.removeprefix("see item ")
        yield f'<a href="#item-{_safe(number)}">{_safe(item.value)}</a>'
    elif item.value:
        yield f'<span class="value">{_safe(item.value)}</span> '
    yield links
    for child in item.children:
        yield from _html(child, base_url, depth + 1)
    yield f"</{tag}>"


def _link(reference: Reference, base_url: str) -> str:
    label = _safe(_described(reference))
    uids = (reference.study_uid, reference.series_uid, reference.sop_instance_uid)
    if not all(is_valid_uid(uid) for uid in uids):
        return f'<span class="value">{label}</span>'
    path = f"/studies/{uids[0]}/series/{uids[1]}/instances/{uids[2]}"
    if len(reference.frames) == 1 and reference.frames[0].isdigit():
        path += f"/frames/{reference.frames[0]}"
    return f'<a href="{_safe(base_url + path)}/rendered">{label}</a>'


def _described(reference: Reference) -> str:
    frames = f" frames {', '.join(reference.frames)}" if reference.frames else ""
    return f"object {reference.sop_instance_uid}{frames}"


def _text_lines(item: ContentItem, depth: int) -> Iterator[str]:
    indent = "  " * depth
    words = [] if item.relationship in ("", "CONTAINS") else [f"[{item.relationship.lower()}]"]
    if item.name:
        words.append(f"{item.name}:" if item.value or item.references else item.name)
    words.append(item.value.replace("\r\n", "\n").replace("\n", f"\n{indent}  "))
    words += map(_described, item.references)
    line = " ".join(word for word in words if word)
    if line:
        yield indent + line
    for child in item.children:
        yield from _text_lines(child, depth + 1)


def _safe(text: str) -> str:
    # What HTML cannot hold, a browser would guess at.
    return escape(_CONTROL.sub(" ", text))
