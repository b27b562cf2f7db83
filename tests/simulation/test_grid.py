"""The in-process grid: a node is made when it is first spoken to, and none is made up."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Mapping

import pytest
from flwr.app import ConfigRecord, MessageType, RecordDict

from groundswell.client.relay import app
from groundswell.simulation.grid import InProcessGrid


class Vaults(Mapping[str, Callable[[bytes], bytes]]):
    """Vaults that note which of them were asked for."""

    def __init__(self, number: int) -> None:
        self.names = [f"site-{n}" for n in range(number)]
        self.made: list[str] = []

    def __getitem__(self, name: str) -> Callable[[bytes], bytes]:
        self.made.append(name)
        return lambda request: name.encode() + b" got " + request

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def ask(grid: InProcessGrid, node: int) -> object:
    record = RecordDict({"vault": ConfigRecord({"request": b"it"})})
    message = grid.create_message(record, f"{MessageType.QUERY}.vault", node, "")
    (reply,) = grid.send_and_receive([message])
    return reply.content.config_records["vault"]["reply"]


def test_a_vault_is_looked_up_once_and_when_it_is_spoken_to() -> None:
    vaults = Vaults(1000)
    grid = InProcessGrid(app, vaults)
    assert list(grid.get_node_ids()) == list(range(1, 1001))
    assert vaults.made == []
    assert ask(grid, 8) == b"site-7 got it"
    assert ask(grid, 8) == b"site-7 got it"
    assert vaults.made == ["site-7"]
    grid.close()


@pytest.mark.parametrize("node", [0, 4])
def test_a_node_that_is_not_there_gets_nothing(node: int) -> None:
    grid = InProcessGrid(app, Vaults(3))
    with pytest.raises(KeyError):
        ask(grid, node)
    grid.close()


def test_a_closed_grid_delivers_nothing() -> None:
    grid = InProcessGrid(app, Vaults(3))
    ask(grid, 1)
    grid.close()
    assert not list(grid.get_node_ids())
    with pytest.raises(KeyError):
        ask(grid, 1)


def test_a_closed_grid_lets_its_vaults_go() -> None:
    class Vault:
        def __call__(self, request: bytes) -> bytes:
            return request

    vault = Vault()
    kept = weakref.ref(vault)
    grid = InProcessGrid(app, {"site-1": vault})
    assert ask(grid, 1) == b"it"
    grid.close()
    del vault, grid
    gc.collect()
    assert kept() is None
