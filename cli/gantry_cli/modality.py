"""The part of a modality that ``gantry demo`` plays: C-ECHO, and C-STORE of synthetic instances."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gantry_dicom.errors import Unavailable
from gantry_dimse.association import Association
from gantry_dimse.connecting import open_association
from gantry_dimse.errors import NotAssociated
from gantry_dimse.negotiating import propose
from gantry_dimse.negotiation import VERIFICATION
from gantry_dimse.scu import c_echo, c_store
from gantry_dimse.statuses import SUCCESS
from gantry_testing.synthetic.values import Instance

_IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"


@dataclass(frozen=True, slots=True)
class Archive:
    """Whom to call, and as whom."""

    host: str
    port: int
    called_ae_title: str
    calling_ae_title: str


def is_let_in(archive: Archive) -> bool:
    """Tell whether the archive takes an association of ours and answers a C-ECHO."""
    try:
        return asyncio.run(_echo(archive)) == SUCCESS
    except NotAssociated:
        return False


def send(archive: Archive, instances: Sequence[Instance], sent: Callable[[Instance], None]) -> None:
    """Send every instance over one association, each in the transfer syntax it is in.

    ``sent`` is called after each. Raises ``NotAssociated``, ``ContextNotAccepted``, and
    ``Unavailable`` for a status that is no success.
    """
    asyncio.run(_send(archive, instances, sent))


async def _echo(archive: Archive) -> int:
    async with await _open(archive, [(VERIFICATION, _IMPLICIT_VR_LITTLE_ENDIAN)]) as association:
        return (await c_echo(association)).status


async def _send(archive: Archive, instances: Sequence[Instance], sent: Callable[[Instance], None]) -> None:
    contexts = sorted({(each.sop_class_uid, each.transfer_syntax_uid) for each in instances})
    async with await _open(archive, contexts) as association:
        for instance in instances:
            reply = await c_store(
                association,
                sop_class_uid=instance.sop_class_uid,
                sop_instance_uid=instance.sop_uid,
                transfer_syntax_uid=instance.transfer_syntax_uid,
                data_set=instance.data_set,
            )
            if reply.status != SUCCESS:
                raise Unavailable(f"C-STORE of {instance.sop_uid} was answered 0x{reply.status:04X}")
            sent(instance)


async def _open(archive: Archive, contexts: Sequence[tuple[str, str]]) -> Association:
    return await open_association(
        archive.host,
        archive.port,
        calling_ae_title=archive.calling_ae_title,
        called_ae_title=archive.called_ae_title,
        contexts=propose((abstract, [transfer]) for abstract, transfer in contexts),
    )
