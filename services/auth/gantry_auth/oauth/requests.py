"""Requests and answers in the form that Authlib's framework-neutral server works with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from authlib.oauth2.rfc6749 import OAuth2Payload, OAuth2Request

Pairs = Sequence[tuple[str, str]]

# Authlib refuses plain http. How far the encrypted way reaches is the deployment's choice, which
# the issuer's URL states; this address only has to have a scheme that it takes.
_URI = "https://issuer.invalid/"


class Payload(OAuth2Payload):  # type: ignore[misc]
    """The parameters of a request, from its query or from its body, never from both."""

    def __init__(self, pairs: Pairs) -> None:
        self._lists: defaultdict[str, list[str]] = defaultdict(list)
        for name, value in pairs:
            self._lists[name].append(value)
        self._data = {name: values[0] for name, values in self._lists.items()}

    @property
    def data(self) -> dict[str, str]:
        """Every parameter once."""
        return self._data

    @property
    def datalist(self) -> defaultdict[str, list[str]]:
        """Every parameter as often as it came."""
        return self._lists


class Request(OAuth2Request):  # type: ignore[misc]
    """A request at the authorization or the token endpoint."""

    def __init__(self, method: str, pairs: Pairs, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(method, _URI, headers=headers or {})
        self.payload = Payload(pairs)

    @property
    def args(self) -> dict[str, str]:
        """The parameters, as Authlib calls those of a query."""
        return self.payload.data

    @property
    def form(self) -> dict[str, str]:
        """The parameters, as Authlib calls those of a body."""
        return self.payload.data


@dataclass(slots=True)
class Answer:
    """What Authlib wants answered; ``location`` may be changed by its extensions."""

    status: int
    body: Any
    headers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def location(self) -> str | None:
        """Where the browser is sent."""
        return next((value for name, value in self.headers if name.lower() == "location"), None)

    @location.setter
    def location(self, url: str) -> None:
        self.headers = [(name, value) for name, value in self.headers if name.lower() != "location"]
        self.headers.append(("Location", url))
