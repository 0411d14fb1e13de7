"""What an operator does by the `gantry` command, and what comes of it at every door."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import httpx
import pytest
from gantry_cli import exits
from gantry_cli.__main__ import main
from gantry_testing.dimse import SUCCESS, NotAssociated, Outgoing, Peer, Sender, echo
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for

KNOWN_WITHIN_SECONDS = 5.0


@pytest.fixture
def gantry(archive, capsys, monkeypatch):
    """Return a function that runs a command and returns exit code, output and complaints."""
    monkeypatch.delenv("GANTRY_TOKEN", raising=False)

    def run(*arguments, state=archive.state):
        code = main([*arguments, "--state", str(state)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def asking(archive):
    """Return a function that asks DICOMweb with a token for a status."""

    def ask(token, path="/studies", **changes):
        headers = {"Authorization": f"Bearer {token}"} | changes
        return httpx.get(archive.facts["dicomweb_url"] + path, headers=headers).status_code

    return ask


@pytest.fixture
def modality(archive):
    """The archive's DIMSE side as a scanner is told of it."""
    facts = archive.facts
    return Peer(facts["dimse_host"], facts["dimse_port"], facts["ae_title"], "SCANNER")


def is_known(peer):
    try:
        return echo(peer) == SUCCESS
    except NotAssociated:
        return False


def test_a_user_is_added_listed_given_other_rights_and_revoked(gantry):
    code, out, _ = gantry("user", "add", "ann", "--grant", "clinician@main", "--json")
    assert code == exits.OK
    assert set(json.loads(out)) == {"name", "password"}
    assert "ann    clinician@main" in gantry("user", "list")[1]
    assert gantry("user", "grant", "ann", "--grant", "technologist@main")[0] == exits.OK
    assert gantry("user", "revoke", "ann")[0] == exits.OK
    (found,) = (user for user in json.loads(gantry("user", "list", "--json")[1]) if user["name"] == "ann")
    assert found["grants"] == ["technologist@main"]
    assert found["revoked_at"] is not None
    assert gantry("user", "password", "ann", "--reinstate")[0] == exits.OK
    (found,) = (user for user in json.loads(gantry("user", "list", "--json")[1]) if user["name"] == "ann")
    assert found["revoked_at"] is None


def test_a_password_of_ones_own_is_not_said(gantry, tmp_path):
    file = tmp_path / "password"
    file.write_text("correct horse battery staple\n")
    code, out, _ = gantry("user", "add", "bob", "--password-file", str(file))
    assert (code, out) == (exits.OK, "User bob added.\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["user", "add", "admin"], "somebody's already"),
        (["user", "add", "eve", "--grant", "king@main"], "role@partition"),
        (["user", "add", "Not A Name"], "a name has"),
        (["user", "revoke", "nobody"], "no such subject"),
        (["ae", "add", "A\\\\B"], "an AE title has"),
        (["ae", "revoke", "NOBODY"], "no such title"),
        (["client", "list", "--token", "rubbish"], "malformed"),
        (["token", "--client", "nobody"], "cannot read"),
        (["token", "--scope", "admin@main"], "more than is granted"),
        (["token", "--issuer", "http://127.0.0.1:9/auth"], "name a token"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(gantry, arguments, said):
    code, out, err = gantry(*arguments)
    assert (code, out) == (exits.FAILED, "")
    assert err.startswith("gantry: ")
    assert said in err
    assert err.count("\n") == 1


def test_a_program_has_its_clients_rights_until_it_is_revoked(gantry, asking, archive, tmp_path):
    secret = tmp_path / "secret"
    gantry("client", "add", "reader", "--grant", "clinician@main", "--secret-to", str(secret))
    assert secret.stat().st_mode & 0o077 == 0
    code, out, _ = gantry(
        "token", "--issuer", archive.facts["issuer"], "--client", "reader", "--secret-file", str(secret)
    )
    assert code == exits.OK
    token = out.strip()
    assert asking(token) in (200, 204)
    stored = httpx.post(
        f"{archive.facts['dicomweb_url']}/studies", headers={"Authorization": f"Bearer {token}"}
    )
    assert stored.status_code == 403
    gantry("client", "revoke", "reader")
    wait_for(lambda: asking(token) == 401, "the end of the token", KNOWN_WITHIN_SECONDS)


def test_a_token_for_scripts_needs_no_words_and_can_be_narrowed(gantry, asking):
    token = gantry("token")[1]
    assert token.count("\n") == 1
    assert asking(token.strip()) in (200, 204)
    narrowed = gantry("token", "--scope", "service@elsewhere")[1].strip()
    assert asking(narrowed) == 404


def test_a_token_in_the_environment_is_the_one_that_is_shown(gantry, monkeypatch, tmp_path):
    token = gantry("token")[1].strip()
    monkeypatch.setenv("GANTRY_TOKEN", token)
    assert gantry("token")[1].strip() == token
    code, _, err = gantry("user", "list")
    assert (code, err) == (exits.FAILED, "gantry: this is for administrators of every partition\n")


def test_a_title_may_what_it_was_registered_for_and_nothing_before_and_after(gantry, modality):
    (instance,) = generate_study(93, "CT", instances=1)
    item = Outgoing(instance.sop_class_uid, instance.sop_uid, instance.transfer_syntax_uid, instance.data_set)
    assert not is_known(modality)
    gantry("ae", "add", "SCANNER", "--may", "store", "--from", "127.0.0.0/8")
    gantry("ae", "add", "ELSEWHERE", "--may", "store", "--from", "192.0.2.1")
    assert "SCANNER    main       store  127.0.0.0/8" in gantry("ae", "list")[1]
    wait_for(lambda: is_known(modality), "the registration", KNOWN_WITHIN_SECONDS)
    assert not is_known(replace(modality, calling_ae_title="ELSEWHERE"))
    with Sender(modality, [item.context]) as sender:
        assert sender.store(item) == SUCCESS
    gantry("ae", "revoke", "SCANNER")
    wait_for(lambda: not is_known(modality), "the end of it", KNOWN_WITHIN_SECONDS)


def test_an_import_shows_the_account_of_the_stack(gantry, archive, tmp_path):
    (instance,) = generate_study(94, "CT", instances=1)
    (tmp_path / "a.dcm").write_bytes(instance.data)
    assert gantry("import", str(tmp_path))[1].endswith("1 of 1 instances stored\n")
    elsewhere = gantry("import", str(tmp_path), "--to", archive.facts["dicomweb_url"])
    assert elsewhere[0] == exits.FAILED
    assert "HTTP 401" in elsewhere[1]


def test_access_records_are_found_and_a_changed_one_is(gantry, archive, tmp_path):
    (instance,) = generate_study(95, "CT", instances=1)
    (tmp_path / "a.dcm").write_bytes(instance.data)
    gantry("import", str(tmp_path / "a.dcm"))
    # What stops hands over what it has, and ends its chain.
    archive.stop()
    code, out, _ = gantry("audit", "search", "--study", instance.study_uid, "--json")
    (record,) = json.loads(out)
    assert (code, record["principal"], record["kind"]) == (exits.OK, "client:scripts", "store")
    assert record["sop_instance_uids"] == [instance.sop_uid]
    code, out, _ = gantry("audit", "search", "--action", "change", "--limit", "2")
    assert (code, len(out.splitlines())) == (exits.OK, 3)
    assert gantry("audit", "search", "--to", "2001-01-01", "--json")[1] == "[]\n"
    code, out, _ = gantry("audit", "verify")
    assert (code, out.splitlines()[-1]) == (exits.OK, "Every record is as it was written.")

    copy = tmp_path / "copy"
    shutil.copytree(archive.state / "objects/audit", copy / "objects/audit")
    for name in ("stack.json", "seal-keys"):
        shutil.copy(archive.state / name, copy)
    batch = next(path for path in sorted(copy.rglob("audit/auth-*/*")) if path.is_file())
    data = bytearray(batch.read_bytes())
    data[len(data) // 2] ^= 1
    batch.write_bytes(data)
    code, out, _ = gantry("audit", "verify", "--json", state=copy)
    assert code == exits.FAILED
    keys = [problem["key"] for problem in json.loads(out)["problems"]]
    # What its writer wrote after it no longer follows anything.
    assert keys[0] == f"audit/{batch.parent.name}/{batch.name}"
    assert len(keys) <= 2
    assert {key.rpartition("/")[0] for key in keys} == {f"audit/{batch.parent.name}"}
