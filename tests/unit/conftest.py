"""What more than one module of unit tests has."""

from collections.abc import AsyncIterator

import pytest

from gns3server.storage.database import DatabaseThread


@pytest.fixture
async def thread() -> AsyncIterator[DatabaseThread]:
    thread = DatabaseThread()
    yield thread
    await thread.close()
