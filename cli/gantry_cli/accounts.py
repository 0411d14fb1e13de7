"""``gantry user``, ``client`` and ``ae``: who may do what, by the administration of the service of logins."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gantry_embedded.files import write_private

from gantry_cli.access import AccessOptions, Admin, administration
from gantry_cli.exits import OK
from gantry_cli.terminal import say, table
from gantry_cli.tokens import read_secret

RIGHTS = ("store", "find", "move")
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command has to say: as a document, and in lines."""

    document: object
    lines: Sequence[str]


def run(access: AccessOptions, options: argparse.Namespace) -> int:
    """Run one action of ``user``, ``client`` or ``ae``. Raises the ``GantryError`` that it ends with."""
    outcome = ACTIONS[options.command, options.action](administration(access), options)
    if options.json:
        say(json.dumps(outcome.document, indent=2))
    else:
        for line in outcome.lines:
            say(line)
    return OK


def _add_user(admin: Admin, options: argparse.Namespace) -> Outcome:
    body = {"name": options.name, "grants": options.grant, "password": _password(options)}
    made: Document = admin.ask("POST", "/users", body)
    return Outcome(made, [f"User {made['name']} added{_said_once('password', made)}."])


def _list_users(admin: Admin, _options: argparse.Namespace) -> Outcome:
    return _subjects(admin.ask("GET", "/users"))


def _set_password(admin: Admin, options: argparse.Namespace) -> Outcome:
    body = {"password": _password(options), "reinstate": options.reinstate}
    made: Document = admin.ask("POST", f"/users/{_segment(options.name)}/password", body)
    said = _said_once("password", made)
    return Outcome(made, [f"User {options.name} has another password{said}; open sessions have ended."])


def _set_user_grants(admin: Admin, options: argparse.Namespace) -> Outcome:
    return _set_grants(admin, "users", options.name, options.grant)


def _revoke_user(admin: Admin, options: argparse.Namespace) -> Outcome:
    return _revoke(admin, "users", options.name)


def _add_client(admin: Admin, options: argparse.Namespace) -> Outcome:
    body = {
        "client_id": options.name,
        "grants": options.grant,
        "redirect_uris": options.redirect_uri,
        "grant_types": ["authorization_code", "refresh_token"]
        if options.redirect_uri
        else ["client_credentials"],
        "public": options.public,
    }
    made: Document = admin.ask("POST", "/clients", body)
    if options.secret_to is not None and "client_secret" in made:
        write_private(options.secret_to, f"{made.pop('client_secret')}\n")
        return Outcome(made, [f"Client {options.name} added, its secret is in {options.secret_to}."])
    return Outcome(made, [f"Client {options.name} added{_said_once('client_secret', made)}."])


def _list_clients(admin: Admin, _options: argparse.Namespace) -> Outcome:
    return _subjects(admin.ask("GET", "/clients"))


def _set_client_grants(admin: Admin, options: argparse.Namespace) -> Outcome:
    return _set_grants(admin, "clients", options.name, options.grant)


def _revoke_client(admin: Admin, options: argparse.Namespace) -> Outcome:
    return _revoke(admin, "clients", options.name)


def _add_entity(admin: Admin, options: argparse.Namespace) -> Outcome:
    body: Document = {
        "ae_title": options.title,
        "partition": options.partition,
        "source_addresses": options.source,
        "host": options.host,
        "port": options.port,
        "certificates": options.certificate,
        "maximum_associations": options.max_associations,
        "associations_per_minute": options.per_minute,
    }
    body |= {f"may_{right}": right in options.may for right in RIGHTS}
    admin.ask("POST", "/application-entities", body)
    return Outcome(body, [f"{options.title} is registered in partition {options.partition}."])


def _list_entities(admin: Admin, _options: argparse.Namespace) -> Outcome:
    found: list[Document] = admin.ask("GET", "/application-entities")
    rows = [
        (
            entity["ae_title"],
            entity["partition"],
            " ".join(right for right in RIGHTS if entity[f"may_{right}"]) or "-",
            " ".join(entity["source_addresses"]) or "anywhere",
            f"{entity['host']}:{entity['port']}" if entity["host"] else "-",
        )
        for entity in found
    ]
    return Outcome(found, table(("AE TITLE", "PARTITION", "MAY", "FROM", "LISTENS AT"), rows))


def _remove_entity(admin: Admin, options: argparse.Namespace) -> Outcome:
    query = {"partition": options.partition} if options.partition else None
    admin.ask("DELETE", f"/application-entities/{_segment(options.title)}", query=query)
    where = f"partition {options.partition}" if options.partition else "any partition"
    document = {"ae_title": options.title, "partition": options.partition}
    return Outcome(document, [f"{options.title} is not registered in {where} any more."])


def _set_grants(admin: Admin, kind: str, name: str, grants: list[str]) -> Outcome:
    admin.ask("PUT", f"/{kind}/{_segment(name)}/grants", {"grants": grants})
    held = " ".join(grants) or "no rights"
    return Outcome({"name": name, "grants": grants}, [f"{name} has {held} now; earlier tokens have ended."])


def _revoke(admin: Admin, kind: str, name: str) -> Outcome:
    admin.ask("POST", f"/{kind}/{_segment(name)}/revoke")
    return Outcome({"name": name, "revoked": True}, [f"{name} is revoked, with every session and token."])


def _subjects(found: list[Document]) -> Outcome:
    rows = [
        (
            subject["name"],
            " ".join(subject["grants"]) or "-",
            subject["created_at"][:10],
            f"since {subject['revoked_at'][:10]}" if subject["revoked_at"] else "-",
        )
        for subject in found
    ]
    return Outcome(found, table(("NAME", "RIGHTS", "CREATED", "REVOKED"), rows))


def _password(options: argparse.Namespace) -> str | None:
    """Return the password that the user chose; the service makes one when there is none."""
    file: Path | None = options.password_file
    if file is None:
        return None
    return sys.stdin.readline().rstrip("\r\n") if str(file) == "-" else read_secret(file)


def _said_once(name: str, made: Document) -> str:
    return f", {name.removeprefix('client_')} {made[name]} (said only now)" if name in made else ""


def _segment(name: str) -> str:
    return quote(name, safe="")


ACTIONS: Mapping[tuple[str, str], Callable[[Admin, argparse.Namespace], Outcome]] = {
    ("user", "add"): _add_user,
    ("user", "list"): _list_users,
    ("user", "password"): _set_password,
    ("user", "grant"): _set_user_grants,
    ("user", "revoke"): _revoke_user,
    ("client", "add"): _add_client,
    ("client", "list"): _list_clients,
    ("client", "grant"): _set_client_grants,
    ("client", "revoke"): _revoke_client,
    ("ae", "add"): _add_entity,
    ("ae", "list"): _list_entities,
    ("ae", "revoke"): _remove_entity,
}
