"""Metrics: labels in bounds, exemplars, and what a service's processes use."""

import os
import subprocess
import sys
import textwrap

import pytest
from gantry_telemetry.metrics import BoundedLabel
from prometheus_client.openmetrics.parser import text_string_to_metric_families

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def shown(folder, script, accept=OPENMETRICS, workers=True):
    """Run ``script`` in a process of its own and return what its exposition then says."""
    end = f"""
        import sys
        from gantry_telemetry.metrics import exposition
        body, media_type = exposition({accept!r})
        print(media_type, file=sys.stderr)
        sys.stdout.buffer.write(body)
    """
    environment = {name: value for name, value in os.environ.items() if "PROMETHEUS" not in name}
    if workers:
        environment["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script) + textwrap.dedent(end)],
        env=environment, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return run.stdout, run.stderr.strip()


OBSERVE_IN_A_TRACE = f"""
    import time
    from gantry_telemetry.metrics import histogram
    from gantry_telemetry.tracing import continue_trace
    seconds = histogram("gantry_test_seconds", "A test", ["kind"], buckets=(0.1, 1))
    with continue_trace("00-{TRACE}-b7ad6b7169203331-FLAGS"):
        seconds.labels("x").observe(0.5)
    time.sleep(WAIT)
"""


def buckets(text):
    family = next(one for one in text_string_to_metric_families(text) if one.name == "gantry_test_seconds")
    return {sample.labels["le"]: sample for sample in family.samples if sample.name.endswith("_bucket")}


@pytest.mark.parametrize("workers", [True, False])
def test_a_bucket_names_the_trace_of_an_observation(tmp_path, workers):
    script = OBSERVE_IN_A_TRACE.replace("FLAGS", "01").replace("WAIT", "1" if workers else "0")
    text, media_type = shown(tmp_path, script, workers=workers)
    assert media_type.startswith("application/openmetrics-text")
    exemplar = buckets(text)["1.0"].exemplar
    assert exemplar.labels == {"trace_id": TRACE}
    assert exemplar.value == 0.5
    assert buckets(text)["0.1"].exemplar is None


def test_a_trace_that_is_not_recorded_is_no_example(tmp_path):
    script = OBSERVE_IN_A_TRACE.replace("FLAGS", "00").replace("WAIT", "0")
    text, _ = shown(tmp_path, script, workers=False)
    assert buckets(text)["1.0"].exemplar is None


def test_exemplars_of_a_worker_go_with_it(tmp_path):
    script = OBSERVE_IN_A_TRACE.replace("FLAGS", "01").replace("WAIT", "1")
    forget = """
    import os
    from gantry_telemetry.metrics import forget_worker
    forget_worker(os.getpid())
    """
    text, _ = shown(tmp_path, script + forget)
    assert buckets(text)["1.0"].value == 1
    assert buckets(text)["1.0"].exemplar is None


def test_who_asks_for_plain_text_gets_no_exemplars(tmp_path):
    script = OBSERVE_IN_A_TRACE.replace("FLAGS", "01").replace("WAIT", "0")
    text, media_type = shown(tmp_path, script, accept="text/plain", workers=False)
    assert media_type.startswith("text/plain")
    assert TRACE not in text


def test_a_service_says_what_its_processes_use_together(tmp_path):
    script = """
        import atexit, subprocess, sys
        work = "import time; x = b'.' * (64 << 20); print(1, flush=True); time.sleep(60)"
        child = subprocess.Popen([sys.executable, "-c", work], stdout=subprocess.PIPE)
        atexit.register(child.kill)
        child.stdout.readline()
    """
    text, _ = shown(tmp_path, script, workers=False)
    found = {
        sample.name: sample for family in text_string_to_metric_families(text) for sample in family.samples
    }
    assert found["gantry_processes"].value == 2
    assert found["gantry_process_resident_memory_bytes"].value > 64 << 20
    assert found["gantry_process_open_files"].value > 3
    assert found["gantry_process_cpu_seconds_total"].value > 0
    assert set(found["gantry_build_info"].labels) == {"version"}


def test_a_bounded_label_takes_the_first_values_only():
    bound = BoundedLabel(3, known=["CT"])
    assert [bound(value) for value in ("MR", "US", "XX", "CT", "MR", "")] == [
        "MR",
        "US",
        "other",
        "CT",
        "MR",
        "other",
    ]


def test_known_values_of_a_counter_are_there_before_the_first_event(tmp_path):
    script = """
        from gantry_telemetry.metrics import counter
        counter("gantry_test_lost", "A test", ["kind"], known=["one", "two"])
    """
    for workers in (True, False):
        text, _ = shown(tmp_path, script, workers=workers)
        assert 'gantry_test_lost_total{kind="two"} 0.0' in text


def test_the_library_shows_no_series_of_creation_times(tmp_path):
    script = """
        from gantry_telemetry.metrics import counter
        counter("gantry_test", "A test").inc()
    """
    text, _ = shown(tmp_path, script, workers=False)
    assert "gantry_test_total 1.0" in text
    assert "gantry_test_created" not in text


def test_gauges_of_a_worker_that_was_killed_are_gone(tmp_path):
    script = """
        import os, subprocess, sys
        from gantry_telemetry.metrics import gauge
        gauge("gantry_test_open", "A test").set(1)
        work = "from gantry_telemetry.metrics import gauge; gauge('gantry_test_open', 'A test').set(5); "
        subprocess.run([sys.executable, "-c", work + "import os; os._exit(1)"])
    """
    text, _ = shown(tmp_path, script)
    assert "gantry_test_open 1.0" in text
