"""Whom the listener lets in, and why not: titles, addresses, certificates, limits, user identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gantry_access.assembly import Access
from gantry_access.entities import EntityLimits
from gantry_access.errors import NotRegistered
from gantry_dicom.errors import GantryError, NotFound, Outcome
from gantry_dimse.association import Association
from gantry_dimse.negotiation import (
    CALLED_AE_TITLE_NOT_RECOGNISED,
    CALLING_AE_TITLE_NOT_RECOGNISED,
    LOCAL_LIMIT_EXCEEDED,
    NO_REASON,
    TEMPORARY_CONGESTION,
    AssociateReject,
    AssociateRequest,
)
from gantry_telemetry.logs import get_logger

from gantry_ingest.access import ASSOCIATION, Caller, admit, note_refusal
from gantry_ingest.adapters.rates import AssociationRates
from gantry_ingest.adapters.slots import AssociationSlots
from gantry_ingest.identity import Identities

log = get_logger(__name__)

# What a refusal of ours is in an A-ASSOCIATE-RJ (PS3.8 Table 9-21), by its static name.
REJECTIONS: Mapping[str, AssociateReject] = {
    "limit": LOCAL_LIMIT_EXCEEDED,
    "limit-of-title": LOCAL_LIMIT_EXCEEDED,
    "rate": LOCAL_LIMIT_EXCEEDED,
    "called-ae-title": CALLED_AE_TITLE_NOT_RECOGNISED,
    "calling-ae-title": CALLING_AE_TITLE_NOT_RECOGNISED,
    "source-address": CALLING_AE_TITLE_NOT_RECOGNISED,
    "certificate": CALLING_AE_TITLE_NOT_RECOGNISED,
    "partition": CALLING_AE_TITLE_NOT_RECOGNISED,
    # There is no reason for it in the table (PS3.7 D.3.3.7.3).
    "identity": NO_REASON,
    "no-identity": NO_REASON,
    # While the rules, or who knows a passcode, cannot be asked the peer may come again.
    "no-rules": TEMPORARY_CONGESTION,
}


@dataclass(frozen=True, slots=True)
class Admission:
    """Who was let in, or the name of the refusal; ``identity_response`` answers a verified identity."""

    caller: Caller | None = None
    refusal: str = ""
    identity_response: bytes | None = None


@dataclass(frozen=True, slots=True)
class DoorLimits:
    """Associations at a time over all workers; ``reserved`` are for registered titles only."""

    associations: int
    reserved: int = 0
    # Of one title; 0 sets no limit of its own.
    of_title: int = 0


@dataclass(frozen=True, slots=True)
class Door:
    """Decides about each request for an association; its slot is counted already."""

    access: Access
    partitions: Mapping[str, str]
    slots: AssociationSlots
    rates: AssociationRates
    limits: DoorLimits
    identities: Identities

    async def admit(self, association: Association, request: AssociateRequest) -> Admission:
        """Return who is let in, or why not; never raises a ``GantryError``."""
        peer_address = association.peer_address
        refusal = self._beyond_limits(request.calling_ae_title)
        if refusal:
            return self._refuse(refusal, peer_address)
        certificate = association.tls.peer_certificate if association.tls else None
        partition = self.partitions.get(request.called_ae_title, "")
        caller = Caller(request.calling_ae_title, peer_address, partition, certificate)
        if not partition:
            error = NotFound("the called AE title is none of this listener's")
            note_refusal(self.access, caller, ASSOCIATION, error)
            return self._refuse("called-ae-title", peer_address)
        try:
            admit(self.access, caller)
        except GantryError as error:
            return self._refuse(_refusal_of(error), peer_address)
        return await self._identify(caller, request)

    def is_known(self, calling_ae_title: str) -> bool:
        """Whether a title is registered, as far as the rules are known."""
        feed = self.access.point.feed
        try:
            return feed is not None and feed.current().entities.is_registered(calling_ae_title)
        except GantryError:
            return False

    async def _identify(self, caller: Caller, request: AssociateRequest) -> Admission:
        identity = request.user.user_identity
        if identity is None or not self.identities.is_verified(identity):
            if self.identities.required:
                return self._refuse("no-identity", caller.peer_address)
            return Admission(caller)
        try:
            token = await self.identities.token_of(identity, caller.peer_address)
        except GantryError as error:
            note_refusal(self.access, caller, ASSOCIATION, error)
            is_wrong = error.outcome is Outcome.NOT_AUTHENTICATED
            return self._refuse("identity" if is_wrong else "no-rules", caller.peer_address)
        # PS3.7 D.3.3.7.2: only when it was asked for; of these kinds it is empty.
        response = b"" if identity.response_requested else None
        known = Caller(caller.ae_title, caller.peer_address, caller.partition, caller.certificate, token)
        return Admission(known, identity_response=response)

    def _beyond_limits(self, calling: str) -> str:
        total = self.slots.total()
        is_known = self.is_known(calling)
        room = self.limits.associations if is_known else self.limits.associations - self.limits.reserved
        if total > room:
            return "limit"
        own = self._limits_of(calling)
        of_title = own.maximum_associations or self.limits.of_title
        if of_title and self.slots.of_title(calling) > of_title:
            return "limit-of-title"
        if own.associations_per_minute and self.rates.count(calling) > own.associations_per_minute:
            return "rate"
        return ""

    def _limits_of(self, calling: str) -> EntityLimits:
        feed = self.access.point.feed
        if feed is None:
            return EntityLimits()
        try:
            return feed.current().entities.limits(calling)
        except GantryError:
            return EntityLimits()

    def _refuse(self, refusal: str, peer_address: str) -> Admission:
        log.warning("association_rejected", reason=refusal, peer_address=peer_address)
        return Admission(refusal=refusal)


def _refusal_of(error: GantryError) -> str:
    if isinstance(error, NotRegistered):
        return error.reason
    return "partition" if error.outcome is Outcome.NOT_ALLOWED else "no-rules"
