"""The statements C01 to C19: what holds for every service (PS3.18 chapter 8)."""

from __future__ import annotations

from gantry_cli.conformance.server import Server, path_of
from gantry_cli.conformance.statements import expect, statement


@statement("C12", "PS3.18 8.3")
def unknown_query_parameters_are_ignored(server: Server) -> None:
    """Query parameters that mean nothing change nothing."""
    [instance] = server.kind("CT")
    plain = server.get(path_of(instance) + "/metadata")
    with_more = server.get(path_of(instance) + "/metadata", params=[("utterly-unknown", "1")])
    expect(plain.status_code == 200, f"metadata answered {plain.status_code}")
    expect(
        (with_more.status_code, with_more.content) == (plain.status_code, plain.content),
        f"the answer with an unknown parameter differs: {with_more.status_code}",
    )
