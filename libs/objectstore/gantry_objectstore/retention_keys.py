"""The names of what keeps objects and of what takes them away, beside those in ``keys``.

::

    k/<partition>/<kind>/<hh>/<what>/<hold>         a hold on a study, a patient or the partition, for ever
    k/<partition>/<kind>/<hh>/<what>/<hold>.lifted  that it was lifted
    x/<partition>/<hh>/<scope>/<revision>  that the purge may not be over, until it is
    y/<partition>/<hh>/<scope>/<revision>  that what a move left behind may still be there, until it is not
    d/<partition>/<day>/<scope>-<revision> the certificate of destruction of a purge, for ever
"""

from __future__ import annotations

from gantry_objectstore.keys import (
    AmendmentKey,
    check_key,
    check_partition,
    check_prefix,
    hashed,
    parse_revision,
    revision_name,
    scope_folder,
)

HOLD_PREFIX = "k/"
PURGING_PREFIX = "x/"
MOVING_PREFIX = "y/"
CERTIFICATE_PREFIX = "d/"
# What stands behind the name of a hold that was lifted.
LIFTED = ".lifted"


def hold_folder(partition: str, kind: str, what: str) -> str:
    """Return the prefix of the holds of ``kind`` on ``what``: a UID, a Patient ID. Raises ``BadKey``."""
    return check_prefix(f"{HOLD_PREFIX}{check_partition(partition)}/{kind}/{_spread(hashed(what))}/")


def purging_folder(partition: str, scope: str) -> str:
    """Return the prefix of a study's purges that may not be over. Raises ``BadKey``."""
    return f"{PURGING_PREFIX}{scope_folder(partition, scope)}"


def purging_key(partition: str, scope: str, revision: int) -> str:
    """Return the key that says that a purge may not be over. Raises ``BadKey``."""
    return f"{purging_folder(partition, scope)}{revision_name(revision)}"


def parse_purging_key(key: str) -> AmendmentKey:
    """Return which purge may not be over; only the exact form is a key. Raises ``BadKey``."""
    return parse_revision(key, purging_key, "not the key of a purge under way")


def moving_key(partition: str, scope: str, revision: int) -> str:
    """Return the key that says that what a move left behind may still be there. Raises ``BadKey``."""
    return f"{MOVING_PREFIX}{scope_folder(partition, scope)}{revision_name(revision)}"


def parse_moving_key(key: str) -> AmendmentKey:
    """Return which move may have left something behind; only the exact form is a key. Raises ``BadKey``."""
    return parse_revision(key, moving_key, "not the key of a move")


def certificate_key(partition: str, day: str, name: str) -> str:
    """Return the key of a certificate by the day of its purge and its name. Raises ``BadKey``."""
    return check_key(f"{CERTIFICATE_PREFIX}{check_partition(partition)}/{day}/{name}")


def certificate_name(scope: str, revision: int) -> str:
    """Return the name of the certificate of a purge. Raises ``BadKey``."""
    return f"{scope}-{revision_name(revision)}"


def _spread(name: str) -> str:
    return f"{name[:2]}/{name}"
