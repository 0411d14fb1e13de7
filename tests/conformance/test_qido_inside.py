"""Statements on searches that are seen only where the archive's parts are at hand."""

from __future__ import annotations

import re

import pytest
from gantry_dicom.errors import TooLarge
from gantry_dicom.query import Level
from gantry_dicom.query_params import parse_query
from gantry_index import document_filter
from gantry_index.pools import open_pool
from gantry_testing.synthetic import make_series, make_study, stream_series
from gantry_web.problems import STATUSES

ANY = "SELECT c.found, c.last, page.* FROM counted c LEFT JOIN page ON true"


async def test_q38_a_search_of_too_many_documents_is_413_with_advice(stack):
    with stack.web() as web:
        files = [one.data for one in stream_series(make_series(make_study(3801)), "CT", instances=3)]
        assert web.store(files).status == 200
    query = parse_query(Level.INSTANCE, [("ImageComments", "x")], partition="main").query
    pool = open_pool(stack.index_dsn)
    try:
        with pytest.raises(TooLarge) as refused:
            await document_filter.find(pool, query, ANY, candidates=2)
        found = await document_filter.find(pool, query, ANY, candidates=10**6)
    finally:
        await pool.close()
    assert STATUSES[refused.value.outcome] == 413
    assert re.search("ImageComments .* add a key", refused.value.detail)
    assert found.remaining_is_exact
