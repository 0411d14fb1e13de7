"""Statements on retrieval that are seen only where the archive's parts are at hand."""

from __future__ import annotations

import os
import re
import threading
import time
from pathlib import Path

import httpx
import pytest
from gantry_testing.synthetic import make_series, make_study, stream_series
from gantry_testing.web import ANY_TRANSFER_SYNTAX

JPEG_2000 = "1.2.840.10008.1.2.4.90"
MANY = 10_000
BATCH = 250


def made(stack, name):
    """Return a counter of the gateway."""
    text = httpx.get(stack.health_url("gateway") + "/metrics").text
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if re.match(name, line))


def resident_bytes(pid):
    """Return the memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def path_of(instance):
    return f"/studies/{instance.study_uid}/series/{instance.series_uid}/instances/{instance.sop_uid}"


def test_w45_ten_clients_that_ask_for_one_frame_at_once_have_it_made_once(stack):
    with stack.web() as web:
        [instance] = stream_series(make_series(make_study(4501)), "CT", size=(900, 900))
        assert web.store([instance.data]).status == 200
        # The workers run and the image is known: what follows is the frame alone.
        accept = f'multipart/related; type="image/jp2"; transfer-syntax={JPEG_2000}'
        other = 'multipart/related; type="image/jls"'
        assert web.get(f"{path_of(instance)}/frames/1", other).status_code == 200
        before = made(stack, r'gantry_pixel_jobs_total\{outcome="done"\}')
        ready = threading.Barrier(10)
        answers = []

        def ask():
            ready.wait()
            answers.append(web.get(f"{path_of(instance)}/frames/1", accept))

        clients = [threading.Thread(target=ask) for _ in range(10)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert [answer.status_code for answer in answers] == [200] * 10
        assert made(stack, r'gantry_pixel_jobs_total\{outcome="done"\}') - before == 1


@pytest.mark.slow
def test_w46_ten_thousand_instances_stream_in_bounded_memory(stack):
    with stack.web() as web:
        batch = []
        for instance in stream_series(make_series(make_study(4601)), "SC", instances=MANY):
            batch.append(instance.data)
            if len(batch) == BATCH:
                assert web.store(batch).status in (200, 202)
                batch.clear()
        stack.wait_indexed(MANY)
        url = f"{web.base_url}/studies/{instance.study_uid}/series/{instance.series_uid}"
        at_rest = resident_bytes(stack.pid("gateway"))
        peak = received = 0
        started = time.monotonic()
        with web.http.stream("GET", url, headers={"Accept": ANY_TRANSFER_SYNTAX}) as answer:
            assert answer.status_code == 200
            expected = int(answer.headers["content-length"])
            for number, chunk in enumerate(answer.iter_raw()):
                if not received:
                    assert time.monotonic() - started < 1
                received += len(chunk)
                if number % 100 == 0:
                    peak = max(peak, resident_bytes(stack.pid("gateway")))
        assert received == expected
        assert peak - at_rest < 100 << 20
