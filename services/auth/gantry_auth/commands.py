"""What an operator does beside the running service, on the database alone."""

from __future__ import annotations

from collections.abc import Sequence

from gantry_dicom.errors import Conflict

from gantry_auth import accounts, keys, passwords, throttling
from gantry_auth.grants import parse_grant
from gantry_auth.machine_secrets import matches, new_password
from gantry_auth.service import Service

ADMINISTRATOR = "admin"
EVERYTHING = "admin@*"


def bootstrap_admin(service: Service) -> str | None:
    """Add the first administrator and return the password, which is kept nowhere.

    Returns ``None`` when there is one already. Raises ``Unavailable``.
    """
    password = new_password()
    kept = passwords.hash_password(password)
    try:
        with service.database.transaction() as connection:
            accounts.add_user(connection, ADMINISTRATOR, kept, [parse_grant(EVERYTHING)], service.clock())
    except Conflict:
        return None
    return password


def reset_admin(service: Service) -> str:
    """Give the administrator another password, let it in again, and return the password.

    Nobody is locked out any longer: otherwise whoever goes on failing as it would keep it out.

    Raises ``NotFound``, ``Unavailable``.
    """
    password = new_password()
    kept = passwords.hash_password(password)
    with service.database.transaction() as connection:
        accounts.set_password(connection, ADMINISTRATOR, kept, service.clock())
        accounts.close_all(
            connection,
            ADMINISTRATOR,
            reason="password",
            now=service.clock(),
            token_life=service.token_life,
        )
        accounts.reinstate(connection, ADMINISTRATOR)
        throttling.forget_all(connection)
    return password


def ensure_client(service: Service, client_id: str, secret: str, grants: Sequence[str]) -> bool:
    """Let a service client of that secret be there, for programs whose secret a deployment makes.

    Returns whether it had to be added; grants of one that is there are left as they are.
    Raises ``BadRequest``, ``Unavailable``.
    """
    with service.database.transaction() as connection:
        client = accounts.find_client(connection, client_id)
        if client is None:
            accounts.add_client(
                connection,
                client_id,
                secret=secret,
                grant_types=["client_credentials"],
                redirect_uris=[],
                grants=[parse_grant(text) for text in grants],
                now=service.clock(),
            )
            return True
        if client.secret_digest is None or not matches(secret, client.secret_digest):
            accounts.set_secret(connection, client_id, secret)
    return False


def rotate_keys(service: Service, *, distrust: bool) -> str:
    """Put the next signing key in place and return its id; see ``keys.rotate``. Raises ``Unavailable``."""
    with service.database.transaction() as connection:
        return keys.rotate(
            connection,
            service.vault,
            algorithm=service.settings.signing_algorithm,
            times=service.key_times,
            now=service.clock(),
            distrust=distrust,
        )
