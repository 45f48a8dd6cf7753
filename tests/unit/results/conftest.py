from collections.abc import Iterator

import pytest

from tests.unit.results.desk import Desk


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.waiter.close()
