"""The task of ``bench federation``: a tiny network, many clients, and the bare loop over them.

A client's data follow from its number, so that nothing is kept of clients that are not in a round.
Every side trains with ``train_client`` or does the same steps on the same batches in its own way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Vector = NDArray[np.float32]

INPUTS, HIDDEN, CLASSES = 64, 64, 10
EXAMPLES, BATCH = 100, 10  # of a client; one pass over them is a client's round
LEARNING_RATE = 0.05
_TASTE = 0.5  # how far clients' data lie apart
_HELD_OUT = 2_000


@dataclass(frozen=True)
class FederationTask:
    """Who takes part when.

    Attributes:
        clients: of the population; cohort: drawn for each round.
    """

    clients: int
    cohort: int
    rounds: int
    seed: int = 0

    def cohorts(self) -> list[list[int]]:
        """The clients of every round, each round's ascending: the same for all sides."""
        draw = np.random.default_rng([self.seed, 7])
        return [
            sorted(draw.choice(self.clients, self.cohort, replace=False).tolist())
            for _ in range(self.rounds)
        ]


@dataclass(frozen=True)
class Outcome:
    """What one side made of a task.

    Attributes:
        seconds: of all rounds, without what it takes to get ready.
        weights: flat, after the last round.
    """

    seconds: float
    weights: Vector


def network() -> nn.Sequential:
    """The model, with the same first weights each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))


def data_of(client: int, examples: int = EXAMPLES) -> tuple[Tensor, Tensor]:
    """A client's inputs ``[n, INPUTS]`` and classes ``[n]``; about 10 KiB an hundred examples."""
    draw = np.random.default_rng([client, 11])
    truth = np.random.default_rng(13).standard_normal((INPUTS, CLASSES))
    x = draw.standard_normal((examples, INPUTS)) + _TASTE * draw.standard_normal(INPUTS)
    y = (x @ truth + draw.gumbel(size=(examples, CLASSES))).argmax(axis=1)
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y)


def flat(model: nn.Module) -> Vector:
    """float32 ``[d]``."""
    parts = [p.detach().reshape(-1) for p in model.parameters()]
    return np.asarray(torch.cat(parts).numpy())


def load(model: nn.Module, weights: Vector) -> None:
    """The inverse of ``flat``."""
    start = 0
    source = torch.from_numpy(weights)
    with torch.no_grad():
        for parameter in model.parameters():
            part = source[start : start + parameter.numel()]
            parameter.copy_(part.view_as(parameter))
            start += parameter.numel()


def train_client(model: nn.Module, weights: Vector, client: int) -> Vector:
    """The client's weights after one pass over its data, from ``weights``."""
    load(model, weights)
    optimiser = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    x, y = data_of(client)
    for start in range(0, len(x), BATCH):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(
            model(x[start : start + BATCH]), y[start : start + BATCH]
        )
        torch.autograd.backward(loss)
        optimiser.step()
    return flat(model)


def mean(vectors: list[Vector]) -> Vector:
    """Mean of the clients' weights, added up in their order in float64."""
    total = np.zeros(len(vectors[0]), dtype=np.float64)
    for vector in vectors:
        total += vector
    return (total / len(vectors)).astype(np.float32)


def held_out_loss(weights: Vector) -> float:
    """Cross-entropy on examples of clients beyond every population."""
    model = network()
    load(model, weights)
    parts = [data_of(10**9 + number) for number in range(_HELD_OUT // EXAMPLES)]
    x, y = torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])
    with torch.no_grad():
        return float(nn.functional.cross_entropy(model(x), y))
