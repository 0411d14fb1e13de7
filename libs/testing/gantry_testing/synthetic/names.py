"""Names that nobody bears, for synthetic patients."""

from __future__ import annotations

FAMILIES: tuple[str, ...] = (
    "Abendstern", "Bergmoos", "Costalunga", "Duboisvert", "Eganfield", "Fischgrund", "Gruberwald",
    "Hansensund", "Ivanowka", "Jansenkop", "Kellerton", "Lopezal", "Moreauville", "Nakasawa",
)  # fmt: skip
GIVEN: tuple[str, ...] = (
    "Ada", "Ben", "Clara", "David", "Emma", "Felix", "Greta", "Hugo", "Ida",
    "Jan", "Kira", "Leo", "Mia", "Noah", "Olga", "Paul", "Quinn", "Rosa",
)  # fmt: skip
