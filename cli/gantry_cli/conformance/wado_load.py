"""The statements W44 to W46: many instances, many clients, clients that leave (PS3.18 10.4)."""

from __future__ import annotations

import time

from gantry_testing.synthetic import Instance, Study, make_series, stream_series

from gantry_cli.conformance.server import Server, path_of, study_path_of
from gantry_cli.conformance.statements import NotTestable, expect, statement
from gantry_cli.conformance.wado_objects import PARTS, parts_of

_HANG_UPS = 10
_PATIENCE_SECONDS = 5.0


def _large(study: Study) -> list[Instance]:
    return list(stream_series(make_series(study), "CT", instances=12))


@statement("W44", "", choice=True)
def a_client_that_hangs_up_leaves_nothing_behind(server: Server) -> None:
    """Clients that leave in the middle of a study neither hold up nor harm those that follow."""
    instances = server.sample("large", _large)
    url = server.base_url.rstrip("/") + study_path_of(instances[0])
    for wish in ("*", "1.2.840.10008.1.2.4.90") * (_HANG_UPS // 2):
        accept = f"{PARTS}; transfer-syntax={wish}"
        with server.http.stream("GET", url, headers={"Accept": accept}) as answer:
            expect(answer.status_code == 200, f"answered {answer.status_code}")
            next(answer.iter_raw(1000))
    started = time.monotonic()
    alone = server.get(f"{path_of(instances[0])}/frames/1", "*/*")
    took = time.monotonic() - started
    expect(alone.status_code == 200, f"a frame afterwards answered {alone.status_code}")
    expect(took < _PATIENCE_SECONDS, f"a frame afterwards took {took:.1f} s")
    parts = parts_of(server.get(study_path_of(instances[0]), f"{PARTS}; transfer-syntax=*"))
    expect([part.body for part in parts] == [one.data for one in instances], "the study is not whole")


@statement("W45", "", choice=True)
def one_transcode_for_all_who_ask_at_once(_server: Server) -> None:
    """Clients that ask for the same frame at once share one transcode."""
    raise NotTestable("how often a frame was made cannot be seen from outside")


@statement("W46", "", choice=True)
def a_long_series_is_streamed(_server: Server) -> None:
    """A series of 10,000 instances is streamed in bounded memory, its first byte within a second."""
    raise NotTestable("the server's memory cannot be seen from outside")
