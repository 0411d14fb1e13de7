import pytest
from gantry_testing.upper_layer import Recorder, listening


@pytest.fixture
async def entity():
    return Recorder()


@pytest.fixture
async def listener(entity):
    async with listening(entity) as listener:
        yield listener
