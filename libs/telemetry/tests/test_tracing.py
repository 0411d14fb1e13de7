"""Traces: one trace across processes, by traceparent."""

import subprocess
import sys
import textwrap

import pytest
from gantry_telemetry.tracing import continue_trace, current_traceparent, span_in_each
from opentelemetry.trace import SpanKind

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_without_a_trace_there_is_no_traceparent():
    assert current_traceparent() == ""


def test_a_callers_trace_is_passed_on():
    with continue_trace(PARENT):
        assert current_traceparent() == PARENT
    assert current_traceparent() == ""


@pytest.mark.parametrize("junk", ["", "junk", "00-zz-yy-01"])
def test_a_malformed_traceparent_changes_nothing(junk):
    with continue_trace(junk):
        assert current_traceparent() == ""


RECORD = """
    import sys
    from gantry_telemetry.tracing import configure_tracing, continue_trace, sampled_trace_id, span
    configure_tracing("test", "http://127.0.0.1:1", SHARE)
    with span("begun here"):
        print(bool(sampled_trace_id()))
    for flags in ("00", "01"):
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-" + flags
        with continue_trace(parent), span("continued"):
            print(bool(sampled_trace_id()))
    sys.stdout.flush()
    import os
    os._exit(0)
"""


@pytest.mark.parametrize(("share", "begun"), [("1.0", "True"), ("0.0", "False")])
def test_a_share_of_the_traces_begun_here_is_recorded_and_callers_decide_about_theirs(share, begun):
    script = textwrap.dedent(RECORD.replace("SHARE", share))
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert run.stdout.split() == [begun, "False", "True"], run.stderr


def test_work_for_many_traces_is_a_span_of_each_recorded_one():
    other = PARENT.replace("0af7", "1bf7")
    unrecorded = PARENT.replace("0af7", "2bf7").removesuffix("01") + "00"
    with span_in_each([PARENT, other, other, unrecorded, ""], "commit", SpanKind.CONSUMER):
        assert current_traceparent().split("-")[1] == other.split("-")[1]
    assert current_traceparent() == ""
