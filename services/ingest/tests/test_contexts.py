"""Which presentation contexts are accepted, and how."""

import pytest
from gantry_dimse.negotiation import ContextResult, ProposedContext
from gantry_ingest.contexts import choose, is_storage
from pynetdicom import AllStoragePresentationContexts, NonPatientObjectPresentationContexts

EXPLICIT, IMPLICIT, JPEG_2000 = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.90"
CT = "1.2.840.10008.5.1.4.1.1.2"


def test_every_storage_class_of_another_implementation_is_storage():
    known = (*AllStoragePresentationContexts, *NonPatientObjectPresentationContexts)
    assert [c.abstract_syntax for c in known if not is_storage(str(c.abstract_syntax))] == []


NOT_STORAGE = {
    "storage commitment": "1.2.840.10008.1.20.1",
    "media directory": "1.2.840.10008.1.3.10",
    "find": "1.2.840.10008.5.1.4.1.2.2.1",
    "a transfer syntax": "1.2.840.10008.1.2",
    "the application context": "1.2.840.10008.3.1.1.1",
}


@pytest.mark.parametrize("uid", NOT_STORAGE.values(), ids=NOT_STORAGE)
def test_what_only_sounds_like_storage_is_not(uid):
    assert not is_storage(uid)


def test_what_is_no_service_of_ours_is_not_accepted():
    context = ProposedContext(1, NOT_STORAGE["media directory"], (IMPLICIT,))
    assert choose(context) is ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED


@pytest.mark.parametrize("uid", [CT, "1.2.840.10008.1.1", "2.25.152752519834663263826301420581341174218"])
def test_the_transfer_syntax_is_the_first_of_the_requestors_that_we_know(uid):
    assert choose(ProposedContext(1, uid, ("1.2.3", JPEG_2000, EXPLICIT))) == JPEG_2000
    refused = choose(ProposedContext(1, uid, ("1.2.3",)))
    assert refused is ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED
