"""A saved run goes on as it was, and only under its own plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from groundswell.server.checkpointing import LeftOut, RunState, load, save
from groundswell.shared.errors import InputError, ModelError
from groundswell.shared.plan import Phase
from groundswell.shared.transfer import ModelState

PLAN, OTHER = b"p" * 32, b"o" * 32
LEFT_OUT = (LeftOut("pairs", Phase.REFRESH), LeftOut("h5", Phase.STATISTICS, "pets"))


@pytest.fixture
def state() -> RunState:
    weights = {"head.bias": np.arange(3, dtype=np.float32)}
    begun = RunState.begin(ModelState(weights, {"popularity": np.ones(2, dtype=np.float32)}))
    return replace(begun, position=7, next_seq=9, retries={"gradient": 1}, left_out=LEFT_OUT)


def test_a_saved_state_comes_back(tmp_path: Path, state: RunState) -> None:
    assert load(tmp_path, PLAN) is None
    save(tmp_path, state, PLAN)
    found = load(tmp_path, PLAN)
    assert found is not None
    assert found.model.hash() == state.model.hash()
    assert (found.position, found.next_seq, found.retries) == (7, 9, {"gradient": 1})
    assert found.left_out == LEFT_OUT


def test_another_plan_is_refused_with_a_remedy(tmp_path: Path, state: RunState) -> None:
    save(tmp_path, state, PLAN)
    with pytest.raises(InputError, match="without --resume"):
        load(tmp_path, OTHER)


def test_a_damaged_file_is_refused(tmp_path: Path, state: RunState) -> None:
    save(tmp_path, state, PLAN)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(ModelError, match="damaged"):
        load(tmp_path, PLAN)
