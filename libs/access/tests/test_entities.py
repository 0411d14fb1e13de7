"""AE titles count only as they were registered."""

import pytest
from gantry.access.v1.access_pb2 import ApplicationEntity, PolicySnapshot
from gantry_access.entities import Registry
from gantry_access.policy import Action, Resource, decide
from gantry_access.roles import RULES
from gantry_dicom.errors import NotAllowed


def registry(*entities, open_registration=False):
    return Registry(PolicySnapshot(application_entities=entities, open_registration=open_registration))


def may(principal, partition="main"):
    return {a.value for a in Action if decide(RULES, principal, a, Resource(partition)).allowed}


CT = ApplicationEntity(
    ae_title="CT1",
    partition="main",
    may_store=True,
    source_addresses=["10.0.0.5", "192.168.7.0/24", "rubbish"],
)


def test_rights_are_those_of_the_registration_in_its_partition_only():
    full = ApplicationEntity(ae_title="WS", partition="other", may_store=True, may_find=True, may_move=True)
    found = registry(CT, full).principal("CT1 ", "10.0.0.5")
    assert (found.name, may(found), may(found, "other")) == ("CT1", {"verify", "store"}, set())
    found = registry(CT, full).principal("WS", "203.0.113.9")
    assert (may(found), may(found, "other")) == (set(), {"verify", "store", "search", "retrieve"})


def test_an_entity_without_rights_may_only_verify():
    assert may(registry(ApplicationEntity(ae_title="E", partition="main")).principal("E", "")) == {"verify"}


@pytest.mark.parametrize("peer", ["192.168.7.99", "::ffff:10.0.0.5"])
def test_networks_and_mapped_addresses_are_understood(peer):
    assert registry(CT).principal("CT1", peer).peer_address == peer


@pytest.mark.parametrize("peer", ["10.0.0.6", "192.168.8.1", "", "localhost", "::1"])
@pytest.mark.parametrize("open_registration", [False, True])
def test_a_registered_title_from_elsewhere_is_refused_even_under_open_registration(peer, open_registration):
    with pytest.raises(NotAllowed):
        registry(CT, open_registration=open_registration).principal("CT1", peer)


def test_an_unknown_title_is_refused_unless_registration_is_open():
    for title in ("NOBODY", "ct1", ""):
        with pytest.raises(NotAllowed):
            registry(CT).principal(title, "10.0.0.5")
    found = registry(CT, open_registration=True).principal("NOBODY", "10.9.9.9")
    assert (may(found), may(found, "other")) == ({"verify", "store", "search", "retrieve"}, set())
    with pytest.raises(NotAllowed):
        registry(open_registration=True).principal("  ", "10.9.9.9")


def test_addresses_that_cannot_be_read_allow_nobody():
    broken = ApplicationEntity(ae_title="X", partition="main", may_store=True, source_addresses=["10.0.0"])
    with pytest.raises(NotAllowed):
        registry(broken).principal("X", "10.0.0.1")


def test_a_title_may_be_registered_in_several_partitions():
    entities = [
        ApplicationEntity(ae_title="X", partition="main", may_store=True),
        ApplicationEntity(ae_title="X", partition="other", may_find=True, source_addresses=["10.0.0.1"]),
    ]
    found = registry(*entities).principal("X", "10.0.0.1")
    assert (may(found), may(found, "other")) == ({"verify", "store"}, {"verify", "search"})
    assert may(registry(*entities).principal("X", "10.0.0.2"), "other") == set()


def test_an_entity_has_an_address_in_its_own_partition_only():
    known = ApplicationEntity(ae_title="WS ", partition="main", host="10.0.0.9", port=104)
    found = registry(known, CT)
    assert found.address("WS", "main") == ("10.0.0.9", 104)
    assert found.address("WS", "other") is None
    assert found.address("CT1", "main") is None
