"""What a requestor asks of its peer: the services of PS3.7 9 and 10, one function each.

Data sets are bytes in the transfer syntax of the context. Every function raises
``NotAssociated`` when the association ends before the answer, and ``ContextNotAccepted``; a
failure of the peer's is the status of the ``Reply``, not an error.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator

from gantry_dimse.association import Association
from gantry_dimse.commands import MEDIUM, Command, CommandField
from gantry_dimse.exchanges import Reply
from gantry_dimse.messages import Buffer
from gantry_dimse.negotiation import VERIFICATION, PresentationContext


async def c_echo(association: Association) -> Reply:
    """Verify the connection (PS3.4 A)."""
    context = association.context_for(VERIFICATION)
    return await association.ask(context, Command(CommandField.C_ECHO, affected_sop_class_uid=VERIFICATION))


async def c_store(
    association: Association,
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str,
    data_set: Buffer | AsyncIterable[Buffer],
    priority: int = MEDIUM,
    move_originator_application_entity_title: str | None = None,
    move_originator_message_id: int | None = None,
) -> Reply:
    """Send one instance (PS3.4 B).

    ``data_set`` may come in pieces. Call it from several tasks for an association with an
    asynchronous operations window: as many as the peer takes are then in its hands at a time.
    """
    context = association.context_for(sop_class_uid, transfer_syntax_uid)
    command = Command(
        CommandField.C_STORE,
        affected_sop_class_uid=sop_class_uid,
        priority=priority,
        affected_sop_instance_uid=sop_instance_uid,
        move_originator_application_entity_title=move_originator_application_entity_title,
        move_originator_message_id=move_originator_message_id,
    )
    return await association.ask(context, command, data_set)


def c_find(
    association: Association, sop_class_uid: str, identifier: Buffer, *, priority: int = MEDIUM
) -> AsyncIterator[Reply]:
    """Search: matches as pending replies, then the last one (PS3.4 C.4.1)."""
    return _ask_for_many(association, CommandField.C_FIND, sop_class_uid, identifier, priority)


def c_get(
    association: Association, sop_class_uid: str, identifier: Buffer, *, priority: int = MEDIUM
) -> AsyncIterator[Reply]:
    """Retrieve over this association (PS3.4 C.4.3).

    The instances come as C-STORE requests, to the C-STORE service of the association's entity;
    negotiate the SCP role for their SOP classes.
    """
    return _ask_for_many(association, CommandField.C_GET, sop_class_uid, identifier, priority)


def c_move(
    association: Association,
    sop_class_uid: str,
    identifier: Buffer,
    move_destination: str,
    *,
    priority: int = MEDIUM,
) -> AsyncIterator[Reply]:
    """Have instances sent to the AE title ``move_destination`` (PS3.4 C.4.2)."""
    return _ask_for_many(
        association, CommandField.C_MOVE, sop_class_uid, identifier, priority, move_destination
    )


async def n_event_report(
    association: Association,
    context: PresentationContext,
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    event_type_id: int,
    information: Buffer | None = None,
) -> Reply:
    """Report an event (PS3.7 10.1.1)."""
    command = Command(
        CommandField.N_EVENT_REPORT,
        affected_sop_class_uid=sop_class_uid,
        affected_sop_instance_uid=sop_instance_uid,
        event_type_id=event_type_id,
    )
    return await association.ask(context, command, information)


async def n_action(
    association: Association,
    context: PresentationContext,
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    action_type_id: int,
    information: Buffer | None = None,
) -> Reply:
    """Ask for an action (PS3.7 10.1.4)."""
    command = Command(
        CommandField.N_ACTION,
        requested_sop_class_uid=sop_class_uid,
        requested_sop_instance_uid=sop_instance_uid,
        action_type_id=action_type_id,
    )
    return await association.ask(context, command, information)


def _ask_for_many(
    association: Association,
    command_field: CommandField,
    sop_class_uid: str,
    identifier: Buffer,
    priority: int,
    move_destination: str | None = None,
) -> AsyncIterator[Reply]:
    command = Command(
        command_field,
        affected_sop_class_uid=sop_class_uid,
        priority=priority,
        move_destination=move_destination,
    )
    return association.ask_for_many(association.context_for(sop_class_uid), command, identifier)
