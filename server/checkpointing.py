"""The run's state on disk, replaced atomically after every attempt, so that a kill loses nothing.

A checkpoint is one safetensors file whose metadata holds the rest as JSON: there is never one half
of it without the other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from groundswell.server.optimiser import OptimiserState, initial_state
from groundswell.server.spending import Spent
from groundswell.shared.errors import InputError, ModelError
from groundswell.shared.transfer import ModelState, Tensor

_NAME = "state.safetensors"


@dataclass(frozen=True)
class RoundRecord:
    """What is known of one closed attempt.

    Attributes:
        ndcg: released validation NDCG@10, where an evaluation was paid for; ``ndcg_se``: the
            standard error that the noise alone gives it.
        bytes: payload over the wire; ``seconds``: wall time.
    """

    kind: str
    phase: str
    round: int
    survivors: tuple[str, ...]
    ndcg: float | None
    ndcg_se: float | None
    central_epsilon: float
    local_epsilon: float
    bytes: int
    seconds: float


@dataclass(frozen=True)
class LeftOut:
    """A statistic that one phase of a run did not release.

    Attributes:
        catalogue: the one that the release holds nothing of, as no site of it survived; "": the
            release is missing as a whole, as its attempts were void.
    """

    kind: str
    phase: str
    catalogue: str = ""

    def __str__(self) -> str:
        whose = f" of {self.catalogue}" if self.catalogue else ""
        return f"{self.kind}{whose} ({self.phase})"


@dataclass(frozen=True)
class RunState:
    """Everything a run needs to go on.

    Attributes:
        position: steps of the schedule that are done or left out.
        retries: void attempts so far, by kind.
        next_seq: a seq that no site's ledger has seen.
        left_out: statistics that were not released; the run says so.
        kept: weights at the last evaluation that did not fall, for early stopping.
    """

    model: ModelState
    optimiser: OptimiserState
    position: int = 0
    next_seq: int = 1
    retries: dict[str, int] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    spent: tuple[Spent, ...] = ()
    records: tuple[RoundRecord, ...] = ()
    kept: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def begin(cls, model: ModelState) -> RunState:
        """The state before the first attempt."""
        return cls(model, initial_state(len(model.flat_weights())))


def save(folder: Path, state: RunState, plan_hash: bytes) -> None:
    """Write the state, then put it in the place of the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    optimiser = {
        f"optimiser/{name}": np.ascontiguousarray(value)
        for name, value in asdict(state.optimiser).items()
        if isinstance(value, np.ndarray)
    }
    rest = {
        "plan": plan_hash.hex(),
        "position": state.position,
        "next_seq": state.next_seq,
        "retries": state.retries,
        "left_out": [asdict(each) for each in state.left_out],
        "spent": [asdict(each) for each in state.spent],
        "records": [asdict(each) for each in state.records],
        "step": state.optimiser.step,
        "bias": state.optimiser.bias,
        "averaged": state.optimiser.averaged,
    }
    part = folder / f"{_NAME}.part"
    kept = {f"kept/{name}": np.ascontiguousarray(value) for name, value in state.kept.items()}
    save_file({**state.model.tensors(), **optimiser, **kept}, part, {"state": json.dumps(rest)})
    with part.open("rb") as written:
        os.fsync(written.fileno())
    part.replace(folder / _NAME)


def load(folder: Path, plan_hash: bytes) -> RunState | None:
    """The last saved state of the run of this plan, or None where none was saved.

    Raises:
        ModelError: the file is damaged.
        InputError: it belongs to another plan.
    """
    path = folder / _NAME
    if not path.exists():
        return None
    try:
        with safe_open(path, "numpy") as opened:
            rest = json.loads((opened.metadata() or {})["state"])
            tensors = {name: opened.get_tensor(name) for name in opened.offset_keys()}
    except (SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f"{path}: the checkpoint is damaged; start the run anew") from error
    if rest["plan"] != plan_hash.hex():
        raise InputError(
            "--resume",
            str(path),
            "what was saved there is of another plan",
            "give the options of that run, or begin anew without --resume",
        )

    def under(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    optimiser = OptimiserState(
        rest["step"],
        tensors["optimiser/first"],
        tensors["optimiser/second"],
        rest["bias"],
        tensors["optimiser/average"],
        rest["averaged"],
    )
    return RunState(
        ModelState(under("weights/"), under("statistics/")),
        optimiser,
        rest["position"],
        rest["next_seq"],
        rest["retries"],
        tuple(LeftOut(**each) for each in rest["left_out"]),
        tuple(Spent(**each) for each in rest["spent"]),
        tuple(
            RoundRecord(**{**each, "survivors": tuple(each["survivors"])})
            for each in rest["records"]
        ),
        under("kept/"),
    )
