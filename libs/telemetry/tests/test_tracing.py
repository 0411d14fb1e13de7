"""Traces: one trace across processes, by traceparent."""

import pytest
from gantry_telemetry.tracing import continue_trace, current_traceparent

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
