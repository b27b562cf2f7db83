"""The sides of ``bench federation``: the bare loop, ours, Flower's Ray engine, and pfl."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from torch import Tensor, nn

from groundswell.client.relay import app as relay
from groundswell.shared.errors import GroundswellError
from groundswell.simulation.benchmarks.federation_task import (
    BATCH,
    LEARNING_RATE,
    FederationTask,
    Outcome,
    Vector,
    data_of,
    flat,
    mean,
    network,
    train_client,
)
from groundswell.simulation.grid import InProcessGrid

RAY_WORKERS = 2
_ROUND_SECONDS = 600.0
_QUERY = f"{MessageType.QUERY}.vault"

flower_client = ClientApp()


def bare(task: FederationTask) -> Outcome:
    """A loop over the cohort: no messages, no framework."""
    model = network()
    weights = flat(model)
    start = time.perf_counter()
    for cohort in task.cohorts():
        weights = mean([train_client(model, weights, client) for client in cohort])
    return Outcome(time.perf_counter() - start, weights)


class _Vaults(Mapping[str, Callable[[bytes], bytes]]):
    """A vault for every client, made when it is first asked for: weights in, weights out."""

    def __init__(self, clients: int) -> None:
        self._clients = clients
        self._model = network()

    def __getitem__(self, name: str) -> Callable[[bytes], bytes]:
        client = int(name)

        def handle(request: bytes) -> bytes:
            weights = np.frombuffer(request, np.float32).copy()
            return train_client(self._model, weights, client).tobytes()

        return handle

    def __iter__(self) -> Iterator[str]:
        return map(str, range(self._clients))

    def __len__(self) -> int:
        return self._clients


def ours(task: FederationTask) -> Outcome:
    """Every client behind the relay's ClientApp and the in-process grid, as a site's vault is."""
    weights = flat(network())
    start = time.perf_counter()
    grid = InProcessGrid(relay, _Vaults(task.clients))
    nodes = list(grid.get_node_ids())
    for cohort in task.cohorts():
        data = weights.tobytes()
        messages = [
            grid.create_message(
                RecordDict({"vault": ConfigRecord({"request": data})}), _QUERY, nodes[client], ""
            )
            for client in cohort
        ]
        weights = mean([_weights(reply) for reply in grid.send_and_receive(messages)])
    seconds = time.perf_counter() - start
    grid.close()
    return Outcome(seconds, weights)


def _weights(reply: Message) -> Vector:
    data = reply.content.config_records["vault"]["reply"]
    if not isinstance(data, bytes):
        raise GroundswellError("a client's reply is not bytes")
    return np.frombuffer(data, np.float32)


@flower_client.train()
def train_on_ray(message: Message, context: Context) -> Message:
    """A Flower client; the server says which client's data it trains on."""
    torch.set_num_threads(1)
    record = message.content.config_records["task"]
    request, client = record["weights"], record["client"]
    if not (isinstance(request, bytes) and isinstance(client, int)):
        raise GroundswellError("the server's message is not one of this benchmark")
    trained = train_client(network(), np.frombuffer(request, np.float32).copy(), client)
    answer = ConfigRecord({"weights": trained.tobytes(), "client": client})
    return Message(RecordDict({"task": answer}), reply_to=message)


def flower_on_ray(task: FederationTask) -> Outcome:
    """Flower's simulation engine, ``RAY_WORKERS`` processes of one thread each.

    A first round, in which Ray starts its workers, is not timed.
    """
    import ray
    from flwr.simulation import run_simulation

    found: list[Outcome] = []
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        weights = flat(network())
        _flower_round(grid, weights, list(range(task.cohort)))
        start = time.perf_counter()
        for cohort in task.cohorts():
            weights = _flower_round(grid, weights, cohort)
        found.append(Outcome(time.perf_counter() - start, weights))

    logging.getLogger("flwr").setLevel(logging.ERROR)
    try:
        ray.init(
            num_cpus=RAY_WORKERS,
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run_simulation(
                server,
                flower_client,
                num_supernodes=task.clients,
                backend_config={
                    "client_resources": {"num_cpus": 1},
                    "init_args": {"num_cpus": RAY_WORKERS},
                },
            )
    finally:
        ray.shutdown()
    if not found:
        raise GroundswellError("Flower's Ray engine ended before the rounds did")
    return found[0]


def _flower_round(grid: Grid, weights: Vector, cohort: list[int]) -> Vector:
    nodes = sorted(grid.get_node_ids())
    messages = [
        grid.create_message(
            RecordDict({"task": ConfigRecord({"weights": weights.tobytes(), "client": client})}),
            MessageType.TRAIN,
            nodes[client],
            "",
        )
        for client in cohort
    ]
    trained: dict[int, Vector] = {}
    for reply in grid.send_and_receive(messages, timeout=_ROUND_SECONDS):
        if reply.has_error():
            raise GroundswellError(f"a Flower client failed: {reply.error.reason}")
        record = reply.content.config_records["task"]
        client, data = record["client"], record["weights"]
        if isinstance(client, int) and isinstance(data, bytes):
            trained[client] = np.frombuffer(data, np.float32)
    return mean([trained[client] for client in cohort])


class _PflNetwork(nn.Module):
    """The same network with the two methods that pfl asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return out

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self(x), y)

    def metrics(self, x: Tensor, y: Tensor) -> dict[str, object]:
        return {}


def pfl(task: FederationTask) -> Outcome:
    """pfl's simulated backend with federated averaging.

    Raises:
        ModuleNotFoundError: pfl is not installed.
    """
    from pfl.aggregate.simulate import SimulatedBackend
    from pfl.algorithm.base import NNAlgorithmParams
    from pfl.algorithm.federated_averaging import FederatedAveraging
    from pfl.data.dataset import Dataset
    from pfl.data.federated_dataset import FederatedDataset
    from pfl.hyperparam import NNTrainHyperParams
    from pfl.model.pytorch import PyTorchModel

    module = _PflNetwork()
    model: Any = PyTorchModel(module, torch.optim.SGD, torch.optim.SGD(module.parameters(), lr=1.0))
    order = iter([client for cohort in task.cohorts() for client in cohort])
    users: Any = FederatedDataset(
        lambda client: Dataset(raw_data=list(data_of(client)), user_id=str(client)),
        lambda: next(order),
    )
    parameters: Any = NNAlgorithmParams(
        central_num_iterations=task.rounds,
        # Evaluation is off on every side: pfl evaluates at multiples of this, so at round 0 alone.
        evaluation_frequency=task.rounds + 1,
        train_cohort_size=task.cohort,
        val_cohort_size=0,
    )
    training = NNTrainHyperParams(
        local_batch_size=BATCH, local_num_epochs=1, local_learning_rate=LEARNING_RATE
    )
    algorithm: Any = FederatedAveraging()
    start = time.perf_counter()
    algorithm.run(
        parameters,
        SimulatedBackend(users, users),
        model,
        training,
        send_metrics_to_platform=False,
    )
    return Outcome(time.perf_counter() - start, flat(module))
