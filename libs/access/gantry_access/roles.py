"""Roles and what they may do, as data."""

from __future__ import annotations

from collections.abc import Mapping

from gantry_access.policy import Action, Rules

# Roles that people and programs have by their tokens.
ROLES: Mapping[str, frozenset[Action]] = {
    "admin": frozenset(Action),
    "clinician": frozenset({Action.SEARCH, Action.RETRIEVE}),
    "technologist": frozenset({Action.SEARCH, Action.RETRIEVE, Action.STORE}),
    "modality": frozenset({Action.VERIFY, Action.STORE, Action.SEARCH}),
    "service": frozenset({Action.STORE, Action.SEARCH, Action.RETRIEVE}),
}

# Rights of application entities in the registry (may_store, may_find, may_move). No token can
# carry them: a name with a colon is no role of a token.
ENTITY_MAY_STORE = "entity:store"
ENTITY_MAY_FIND = "entity:find"
ENTITY_MAY_MOVE = "entity:move"
ENTITY_REGISTERED = "entity:registered"

ENTITY_ROLES: Mapping[str, frozenset[Action]] = {
    ENTITY_REGISTERED: frozenset({Action.VERIFY}),
    ENTITY_MAY_STORE: frozenset({Action.VERIFY, Action.STORE}),
    ENTITY_MAY_FIND: frozenset({Action.VERIFY, Action.SEARCH}),
    ENTITY_MAY_MOVE: frozenset({Action.VERIFY, Action.RETRIEVE}),
}

RULES = Rules({**ROLES, **ENTITY_ROLES})
