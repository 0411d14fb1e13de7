import hashlib

import pytest
from gantry_testing import datapack


def test_files_carry_their_manifest_entry_and_their_bytes():
    files = datapack.files()
    assert len(files) > 500
    first = files[0]
    assert hashlib.sha256(first.read()).hexdigest() == first.entry["sha256"]


def test_files_can_be_narrowed_to_one_class():
    classes = {cls: len(datapack.files(cls)) for cls in ("good", "odd", "broken", "hostile")}
    assert all(classes.values())
    assert sum(classes.values()) == len(datapack.files())


def test_a_missing_pack_skips_with_the_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("GANTRY_DATA_PACK", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("GANTRY_REQUIRE_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception, match="GANTRY_DATA_PACK"):
        datapack.files()


@pytest.mark.parametrize(("variable", "value"), [("CI", "true"), ("GANTRY_REQUIRE_ALL", "1")])
def test_a_missing_pack_is_an_error_where_everything_is_required(monkeypatch, tmp_path, variable, value):
    monkeypatch.setenv("GANTRY_DATA_PACK", str(tmp_path))
    monkeypatch.setenv(variable, value)
    with pytest.raises(datapack.DataPackMissing):
        datapack.files()
