"""What decides: the role table, and properties that hold for every set of grants."""

import pytest
from gantry_access.policy import (
    POLICIES,
    Action,
    Grant,
    Principal,
    Resource,
    Rules,
    decide,
    is_visible,
    require,
)
from gantry_access.roles import ENTITY_ROLES, ROLES, RULES
from gantry_dicom.errors import NotAllowed
from hypothesis import given
from hypothesis import strategies as st

PARTITIONS = ["main", "other", "third"]
roles = st.sampled_from([*RULES.roles, "unknown", "", "Admin", "admin "])
grants = st.frozensets(st.builds(Grant, roles, st.sampled_from([*PARTITIONS, "*", "", "ma", "main "])))
actions = st.sampled_from(list(Action))
resources = st.builds(Resource, st.sampled_from(PARTITIONS), st.sampled_from([None, "1.2.3"]))


def allowed(held, action, resource, rules=RULES):
    return decide(rules, Principal("p", grants=held), action, resource).allowed


@given(grants, grants, actions, resources)
def test_more_grants_never_allow_less(some, more, action, resource):
    if allowed(some, action, resource):
        assert allowed(some | more, action, resource)


@given(grants, actions, resources)
def test_only_grants_of_the_partition_itself_or_of_every_one_count(held, action, resource):
    elsewhere = frozenset(g for g in held if g.partition not in (resource.partition, "*"))
    assert not allowed(elsewhere, action, resource)
    assert allowed(held, action, resource) == allowed(held - elsewhere, action, resource)


@given(grants, actions, resources)
def test_a_decision_is_what_one_grant_alone_allows(held, action, resource):
    decision = decide(RULES, Principal("p", grants=held), action, resource)
    by_table = {
        f"{g.role}@{g.partition}"
        for g in held
        if g.partition in (resource.partition, "*") and action in RULES.roles.get(g.role, ())
    }
    assert decision.allowed == bool(by_table)
    assert decision.rule in (by_table or {"no-grant"})


@given(st.sampled_from(["unknown", "", "Admin", "admin ", "root"]), actions, resources)
def test_an_unknown_role_grants_nothing_and_shows_nothing(role, action, resource):
    held = frozenset({Grant(role, "*")})
    assert not allowed(held, action, resource)
    assert not is_visible(RULES, Principal("p", grants=held), resource.partition)


@given(grants, actions, resources)
def test_without_a_table_nobody_may_do_anything(held, action, resource):
    assert not allowed(held, action, resource, Rules({}))


@given(grants, resources)
def test_a_partition_is_visible_exactly_when_something_may_be_done_there(held, resource):
    something = any(allowed(held, action, resource) for action in Action)
    assert is_visible(RULES, Principal("p", grants=held), resource.partition) == something


def test_a_resource_without_a_partition_is_nobodys():
    assert not allowed(frozenset({Grant("admin", "*"), Grant("admin", "")}), Action.SEARCH, Resource(""))


def test_the_role_table_is_as_agreed():
    assert {role: {a.value for a in granted} for role, granted in ROLES.items()} == {
        "admin": {"verify", "store", "search", "retrieve", "administer"},
        "clinician": {"search", "retrieve"},
        "technologist": {"search", "retrieve", "store"},
        "modality": {"verify", "store", "search"},
        "service": {"store", "search", "retrieve"},
    }
    assert not set(ROLES) & set(ENTITY_ROLES)


@pytest.mark.parametrize("action", list(Action))
def test_the_named_policies_stay(action):
    nobody, anything = Principal("x"), Resource("main")
    assert require(POLICIES["open"], nobody, action, anything).rule == "open"
    with pytest.raises(NotAllowed):
        require(POLICIES["closed"], nobody, action, anything)
