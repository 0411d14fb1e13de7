"""Associations between our own acceptor and requestor."""

from gantry_dimse.facts import EndKind
from gantry_dimse.scu import c_echo, c_store
from gantry_testing.upper_layer import CT, EXPLICIT


async def test_an_echo_and_a_store(listener, entity):
    async with await listener.associate() as association:
        assert (await c_echo(association)).status == 0
        data = bytes(range(256)) * 4096
        reply = await c_store(
            association,
            sop_class_uid=CT,
            sop_instance_uid="1.2.3",
            transfer_syntax_uid=EXPLICIT,
            data_set=data,
        )
        assert reply.status == 0
    assert entity.stored == [("1.2.3", data)]
    facts = await entity.next_end()
    assert (facts.end.kind, facts.end.by_peer) == (EndKind.RELEASED, True)
    assert facts.statuses == {(0x0001, 0): 1, (0x0030, 0): 1}
