"""Logs: what may be written and what never is."""

import json
import logging

import pytest
from gantry_telemetry.logs import configure_logs, get_logger


@pytest.fixture
def lines(capfd):
    configure_logs("test", "INFO")

    def read():
        return [json.loads(line) for line in capfd.readouterr().err.splitlines()]

    yield read
    logging.getLogger().handlers[:] = []


def test_an_event_carries_its_name_service_and_allowed_fields(lines):
    get_logger("module").info("instance_stored", sop_instance_uid="1.2.3", count=2)
    (line,) = lines()
    assert line["event"] == "instance_stored"
    assert line["service"] == "test"
    assert line["sop_instance_uid"] == "1.2.3"
    assert line["count"] == 2


def test_a_field_that_nobody_allowed_is_dropped_and_counted(lines):
    get_logger("module").info("instance_stored", patient_name="Doe^Jane", patient_id="4711")
    (line,) = lines()
    assert "Doe" not in json.dumps(line)
    assert "4711" not in json.dumps(line)
    assert line["dropped_fields"] == 2


def test_an_allowed_field_with_an_object_in_it_is_dropped(lines):
    get_logger("module").info("instance_stored", reason={"PatientName": "Doe^Jane"})
    (line,) = lines()
    assert "Doe" not in json.dumps(line)


def test_an_exception_is_written_without_its_message(lines):
    try:
        raise ValueError("cannot parse 'Doe^Jane'")
    except ValueError:
        get_logger("module").exception("parse_failed")
    (line,) = lines()
    assert "Doe" not in json.dumps(line)
    assert line["error"] == "builtins.ValueError"
    assert any("test_logs.py" in place for place in line["error_at"])


def test_a_librarys_record_is_written_without_its_arguments(lines):
    logging.getLogger("some.library").warning("value %s is odd", "Doe^Jane")
    (line,) = lines()
    assert line["template"] == "value %s is odd"
    assert "Doe" not in json.dumps(line)


def test_a_librarys_formatted_text_is_not_written(lines):
    logging.getLogger("some.library").error("patient Doe^Jane failed")
    (line,) = lines()
    assert "Doe" not in json.dumps(line)
    assert line["logger"] == "some.library"


def test_a_librarys_information_is_not_written_at_all(lines):
    logging.getLogger("pynetdicom").info("identifier")
    assert lines() == []
