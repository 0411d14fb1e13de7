from __future__ import annotations

import pytest
from gantry_index.pools import Purpose, open_pool
from gantry_index.writer import IndexWriter


@pytest.fixture
async def pool(index_dsn):
    """A pool for writing to the test's own index."""
    pool = open_pool(index_dsn, purpose=Purpose.WRITE)
    yield pool
    await pool.close()


@pytest.fixture
def writer(pool):
    return IndexWriter(pool)
