"""Negotiation for acceptors: one rule for each context, the rest follows (PS3.8 9.3.3, PS3.7 D.3.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gantry_dimse.negotiation import (
    MAXIMUM_CONTEXTS,
    AssociateAccept,
    AssociateRequest,
    AsyncWindow,
    ContextAnswer,
    ContextResult,
    PresentationContext,
    ProposedContext,
    RoleSelection,
)

# Returns the transfer syntax in which a context is accepted, or why it is not.
Choice = Callable[[ProposedContext], str | ContextResult]


def answer_contexts(request: AssociateRequest, choose: Choice) -> tuple[ContextAnswer, ...]:
    """Answer every proposed context by ``choose``."""
    answers = []
    for context in request.contexts:
        choice = choose(context)
        if isinstance(choice, ContextResult):
            # The transfer syntax of a refusal is not significant, but has to be there.
            answers.append(ContextAnswer(context.context_id, choice, context.transfer_syntaxes[0]))
        else:
            answers.append(ContextAnswer(context.context_id, ContextResult.ACCEPTANCE, choice))
    return tuple(answers)


def accept_roles(request: AssociateRequest, may_be_scp: Callable[[str], bool]) -> tuple[RoleSelection, ...]:
    """Accept the roles asked for: SCU always, SCP for the SOP classes of ``may_be_scp`` (C-GET)."""
    return tuple(
        RoleSelection(role.sop_class_uid, role.scu, role.scp and may_be_scp(role.sop_class_uid))
        for role in request.user.roles
    )


def propose(wanted: Iterable[tuple[str, Sequence[str]]]) -> tuple[ProposedContext, ...]:
    """Number (abstract syntax, transfer syntaxes) as presentation contexts, in this order.

    Raises ``ValueError`` for more than the 128 there are numbers for.
    """
    contexts = tuple(
        ProposedContext(2 * n + 1, abstract_syntax, tuple(transfer_syntaxes))
        for n, (abstract_syntax, transfer_syntaxes) in enumerate(wanted)
    )
    if not 0 < len(contexts) <= MAXIMUM_CONTEXTS:
        raise ValueError(f"an association has 1 to {MAXIMUM_CONTEXTS} contexts, not {len(contexts)}")
    return contexts


def accepted_contexts(
    request: AssociateRequest, accept: AssociateAccept, *, requestor: bool
) -> dict[int, PresentationContext]:
    """Return the contexts that both sides agree on, by number, with the peer's roles.

    Without role selection the requestor is SCU and the acceptor SCP (PS3.7 D.3.3.4).
    """
    proposed = {context.context_id: context for context in request.contexts}
    asked = {role.sop_class_uid: role for role in request.user.roles}
    roles = {role.sop_class_uid: role for role in accept.user.roles if role.sop_class_uid in asked}
    contexts = {}
    for answer in accept.contexts:
        context = proposed.get(answer.context_id)
        if context is None or answer.result != ContextResult.ACCEPTANCE:
            continue
        if answer.transfer_syntax not in context.transfer_syntaxes:
            continue  # a syntax that nobody proposed: nothing can be sent under it
        role = roles.get(context.abstract_syntax, RoleSelection(context.abstract_syntax, scu=True, scp=False))
        # The requestor's roles; the acceptor has the other ones.
        requestor_is_scu, requestor_is_scp = role.scu, role.scp
        contexts[answer.context_id] = PresentationContext(
            answer.context_id,
            context.abstract_syntax,
            answer.transfer_syntax,
            peer_is_scu=requestor_is_scp if requestor else requestor_is_scu,
            peer_is_scp=requestor_is_scu if requestor else requestor_is_scp,
        )
    return contexts


def answer_window(asked: AsyncWindow | None, maximum: int) -> AsyncWindow | None:
    """Answer an asynchronous operations window: what was asked, up to ``maximum`` each way."""
    if asked is None:
        return None
    return AsyncWindow(
        invoked=min(asked.performed or maximum, maximum), performed=min(asked.invoked or maximum, maximum)
    )
