"""One running federation for all end-to-end tests: four sites, two secure rounds on real data."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from groundswell.server.run_folder import RunStatus
from groundswell.simulation.demo import DemoFederation
from tests.demo_federations import demo_federation, untold


@pytest.fixture(scope="session")
def trained() -> Iterator[tuple[DemoFederation, RunStatus]]:
    """A federation that is still up, and how its run ended."""
    with demo_federation(statistics=("popularity",)) as demo:
        yield demo, demo.train(untold)
