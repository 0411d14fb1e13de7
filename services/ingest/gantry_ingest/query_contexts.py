"""Presentation contexts of Query/Retrieve, and those that C-GET sends instances under."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gantry_dicom.element_headers import Encoding
from gantry_dicom.information_models import QUERY_RETRIEVE, Model
from gantry_dicom.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
)
from gantry_dimse.negotiation import AssociateRequest, ContextResult, PresentationContext, ProposedContext

Choice = Callable[[ProposedContext], str | ContextResult]

# Identifiers in other transfer syntaxes are not read; what can be sent in these holds any instance
# that can be decoded.
_COMMON = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)


def chooser(request: AssociateRequest, choose_storage: Choice) -> Choice:
    """Return how the contexts of ``request`` are answered; those of storage by ``choose_storage``.

    Where the requestor wants to be sent instances (the SCP role, PS3.7 D.3.3.4), the transfer syntax
    is the one that most instances can be had in, not the one it prefers to send.
    """
    received = frozenset(role.sop_class_uid for role in request.user.roles if role.scp)

    def choose(context: ProposedContext) -> str | ContextResult:
        if context.abstract_syntax in QUERY_RETRIEVE:
            return _first(_COMMON, context) or ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED
        choice = choose_storage(context)
        if isinstance(choice, ContextResult) or context.abstract_syntax not in received:
            return choice
        return _first((*_COMMON, *TRANSFER_SYNTAXES), context) or choice

    return choose


def _first(wanted: Sequence[str], context: ProposedContext) -> str | None:
    return next((syntax for syntax in wanted if syntax in context.transfer_syntaxes), None)


def model_of(context: PresentationContext) -> Model:
    """Return the information model of a Query/Retrieve context."""
    return QUERY_RETRIEVE[context.abstract_syntax][1]


def encoding_of(context: PresentationContext) -> Encoding:
    """Return how identifiers are encoded under a context."""
    return TRANSFER_SYNTAXES[context.transfer_syntax].encoding


def is_explicit(context: PresentationContext) -> bool:
    """Tell whether identifiers under a context have explicit VRs."""
    return encoding_of(context).explicit
