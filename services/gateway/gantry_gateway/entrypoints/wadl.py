"""The capabilities description of the service (PS3.18 8.9, Annex H), made from the route table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, SubElement, register_namespace, tostring

from gantry_gateway.entrypoints.openapi import PATH_PARAMETER, Operation

WADL = "application/vnd.sun.wadl+xml"

_NAMESPACE = "http://wadl.dev.java.net/2009/02"
register_namespace("", _NAMESPACE)


@dataclass(slots=True)
class _Node:
    """One path segment, what is below it, and its methods."""

    below: dict[str, _Node] = field(default_factory=dict)
    methods: dict[str, Operation] = field(default_factory=dict)


def wadl_document(base: str, operations: Iterable[tuple[str, str, Operation]]) -> bytes:
    """Return the WADL of ``operations``: path below the base, method, and what it does.

    ``base`` is the public URL of the service, without a trailing slash.
    """
    root = _Node()
    for path, method, operation in operations:
        node = root
        for segment in path.strip("/").split("/"):
            node = node.below.setdefault(PATH_PARAMETER.sub(r"{\1}", segment), _Node())
        node.methods[method] = operation
    application = Element(_tag("application"))
    resources = SubElement(application, _tag("resources"), base=base)
    _describe(resources, root.below)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(application, encoding="unicode").encode()


def _describe(parent: Element, nodes: Mapping[str, _Node]) -> None:
    for segment, node in nodes.items():
        resource = SubElement(parent, _tag("resource"), path=segment)
        for name in PATH_PARAMETER.findall(segment):
            SubElement(resource, _tag("param"), name=name, style="template", required="true")
        for method, operation in node.methods.items():
            _describe_method(resource, method, operation)
        _describe(resource, node.below)


def _describe_method(resource: Element, name: str, operation: Operation) -> None:
    method = SubElement(resource, _tag("method"), name=name, id=_identifier(operation.summary))
    request = SubElement(method, _tag("request"))
    for parameter in operation.parameters:
        SubElement(request, _tag("param"), name=parameter, style="query")
    for media_type in operation.takes:
        SubElement(request, _tag("representation"), mediaType=media_type)
    response = SubElement(method, _tag("response"), status="200")
    for media_type in operation.media_types:
        SubElement(response, _tag("representation"), mediaType=media_type)


def _identifier(summary: str) -> str:
    return "".join(word.capitalize() for word in summary.split())


def _tag(name: str) -> str:
    return f"{{{_NAMESPACE}}}{name}"
