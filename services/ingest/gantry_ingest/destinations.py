"""Where the AE titles of C-MOVE listen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gantry_access.assembly import Access


@dataclass(frozen=True, slots=True)
class Destination:
    """An application entity that instances can be sent to."""

    ae_title: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Destinations:
    """The registered entities under the policy of rules, those of a setting under a named policy."""

    access: Access
    named: Mapping[str, tuple[str, int]]

    def find(self, ae_title: str, partition: str) -> Destination | None:
        """Return where ``ae_title`` listens for ``partition``, if that is known. Raises ``StalePolicy``."""
        title = ae_title.strip()
        feed = self.access.point.feed
        address = self.named.get(title) if feed is None else feed.current().entities.address(title, partition)
        return None if address is None else Destination(title, *address)
