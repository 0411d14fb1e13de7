"""Opening associations as the requestor."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

from gantry_dimse.association import Association
from gantry_dimse.entity import Entity
from gantry_dimse.errors import NoAnswer, NotConnected
from gantry_dimse.negotiation import (
    AssociateRequest,
    AsyncWindow,
    ExtendedNegotiation,
    ProposedContext,
    RoleSelection,
    UserIdentity,
    UserInformation,
)
from gantry_dimse.transport import describe


async def open_association(
    host: str,
    port: int,
    *,
    calling_ae_title: str,
    called_ae_title: str,
    contexts: Sequence[ProposedContext],
    entity: Entity | None = None,
    tls: ssl.SSLContext | None = None,
    tls_server_name: str | None = None,
    roles: Sequence[RoleSelection] = (),
    async_window: AsyncWindow | None = None,
    extended: Sequence[ExtendedNegotiation] = (),
    user_identity: UserIdentity | None = None,
    local_address: str | None = None,
) -> Association:
    """Return an established association; use it as a context manager, or release it.

    ``contexts`` come from ``negotiating.propose``. ``entity`` has the limits, and the services
    for what the peer asks of us (sub-operations of C-GET, reports); without one there are none.
    Raises ``NotConnected``, ``Rejected``, ``NoAnswer`` and ``Aborted``, each with the facts.
    """
    entity = entity or Entity()
    request = AssociateRequest(
        called_ae_title,
        calling_ae_title,
        tuple(contexts),
        UserInformation(
            entity.limits.maximum_pdu_bytes,
            async_window=async_window,
            roles=tuple(roles),
            extended=tuple(extended),
            user_identity=user_identity,
        ),
    )
    association = Association(entity, request)
    association.layer.request(request)
    seconds = entity.limits.artim_seconds
    try:
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().create_connection(
                lambda: association.layer,
                host,
                port,
                ssl=tls,
                server_hostname=(tls_server_name or host) if tls else None,
                local_addr=(local_address, 0) if local_address else None,
            )
    except (OSError, TimeoutError) as error:
        kind, detail = describe(error, connected=tls is not None and isinstance(error, ConnectionResetError))
        association.not_opened(kind, detail, (host, port))
        raise NotConnected(detail, association.facts) from None
    try:
        async with asyncio.timeout(seconds):
            is_accepted = await asyncio.shield(association.negotiated)
    except TimeoutError:
        association.time_out("the request for an association was not answered in time")
        raise NoAnswer("the peer did not answer the request for an association", association.facts) from None
    except asyncio.CancelledError:
        association.abort("nobody waits for it any more")
        raise
    if not is_accepted:
        raise association.error()
    return association
