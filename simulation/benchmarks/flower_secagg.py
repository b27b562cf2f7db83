"""Flower's legacy SecAgg+ workflow in this process, on integer vectors, for comparison.

The workflow and the client's mod are Flower's own, unchanged. Its floats are made exact: with a
clipping range of half the quantization range one step is 1, so that integers are quantized to
themselves, and a weight of ``max_weight`` multiplies them by 1.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.client import Client, NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import NDArrays, Scalar, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.secure_aggregation.secaggplus_constants import (
    RECORD_KEY_CONFIGS,
    Key,
    Stage,
)
from flwr.compat.common import recorddict_compat
from flwr.server import LegacyContext
from flwr.server.client_manager import SimpleClientManager
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from numpy.typing import NDArray

from groundswell.simulation.grid import InProcessGrid

QUANTIZATION_RANGE = 1 << 22
# A vector's entries must lie strictly within +- this.
LARGEST_ENTRY = QUANTIZATION_RANGE // 2
_MAX_WEIGHT = 1000.0

logging.getLogger("flwr").setLevel(logging.ERROR)


class _VectorClient(NumPyClient):
    """A client whose fit gives one fixed vector."""

    def __init__(self, vector: NDArray[np.float64]) -> None:
        self._vector = vector

    def fit(
        self, parameters: NDArrays, config: dict[str, Scalar]
    ) -> tuple[NDArrays, int, dict[str, Scalar]]:
        return [self._vector], int(_MAX_WEIGHT), {}


class _DroppingGrid(InProcessGrid):
    """Loses some nodes between sharing keys and sending their vectors."""

    dropped: frozenset[int] = frozenset()

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        def arrives(message: Message) -> bool:
            stage = message.content.config_records[RECORD_KEY_CONFIGS][Key.STAGE]
            late = stage in (Stage.COLLECT_MASKED_VECTORS, Stage.UNMASK)
            return not (late and message.metadata.dst_node_id in self.dropped)

        return super().send_and_receive([_delivered(each) for each in messages if arrives(each)])


def _delivered(message: Message) -> Message:
    """As it would come off the wire: the mod takes entries out of the records that it is given,
    and the workflow hands the same records to every node."""
    content = RecordDict(
        {
            name: ConfigRecord(dict(record)) if isinstance(record, ConfigRecord) else record
            for name, record in message.content.items()
        }
    )
    metadata = message.metadata
    return Message(content, metadata.dst_node_id, metadata.message_type, group_id=metadata.group_id)


class FlowerSum:
    """One SecAgg+ round over fixed vectors.

    Args:
        vectors: int64 ``[d]`` of each site, entries within ``LARGEST_ENTRY``.
        dropped: how many of them, the last ones, drop out before they send a vector.
    """

    def __init__(
        self, vectors: Iterable[NDArray[np.int64]], *, dropped: int, threshold: int
    ) -> None:
        floats = [vector.astype(np.float64) for vector in vectors]
        self._count = len(floats)
        self._survivors = self._count - dropped

        def client(context: Context) -> Client:
            return _VectorClient(floats[context.node_id - 1]).to_client()

        app = ClientApp(client_fn=client, mods=[secaggplus_mod])
        names = {str(index): lambda data: data for index in range(self._count)}
        self._grid = _DroppingGrid(app, names)
        self._grid.dropped = frozenset(range(self._survivors + 1, self._count + 1))
        self._workflow = SecAggPlusWorkflow(
            num_shares=1.0,
            reconstruction_threshold=threshold,
            max_weight=_MAX_WEIGHT,
            clipping_range=float(LARGEST_ENTRY),
            quantization_range=QUANTIZATION_RANGE,
        )
        self._initial = ndarrays_to_parameters([np.zeros_like(floats[0])])

    def run(self) -> NDArray[np.int64]:
        """The sum over the survivors, int64 ``[d]``; rounded from Flower's floating-point mean."""
        manager = SimpleClientManager()
        for node in self._grid.get_node_ids():
            manager.register(GridClientProxy(node, self._grid, 1))
        strategy = FedAvg(
            fraction_fit=1.0,
            fraction_evaluate=0.0,
            min_fit_clients=self._count,
            min_available_clients=self._count,
        )
        base = Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={})
        context = LegacyContext(base, strategy=strategy, client_manager=manager)
        state = context.state
        state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({WorkflowKey.CURRENT_ROUND: 1})
        state.array_records[MAIN_PARAMS_RECORD] = recorddict_compat.parameters_to_arrayrecord(
            self._initial, keep_input=True
        )
        self._workflow(self._grid, context)
        mean: NDArray[np.float64] = parameters_to_ndarrays(
            recorddict_compat.arrayrecord_to_parameters(
                state.array_records[MAIN_PARAMS_RECORD], keep_input=True
            )
        )[0]
        return np.rint(mean * self._survivors).astype(np.int64)
