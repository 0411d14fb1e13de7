"""The setting that names where C-MOVE sends to."""

from __future__ import annotations


def parse_destinations(text: str) -> dict[str, tuple[str, int]]:
    """Read ``AET=host:port,...``. Raises ``ValueError``."""
    found = {}
    for entry in filter(None, (item.strip() for item in text.split(","))):
        title, separator, address = entry.partition("=")
        host, colon, port = address.strip().rpartition(":")
        if not separator or not colon or not host or not port.isdecimal() or not title.strip():
            raise ValueError("GANTRY_MOVE_DESTINATIONS is a list of AET=host:port")
        found[title.strip()] = (host.strip("[]"), int(port))
    return found
