"""The model as it travels in a round: trainable weights and released statistics, by name.

The hash is over the tensors, not over the bytes, so that both sides can compute it on their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from groundswell.shared.errors import Refusal
from groundswell.shared.tensors import flatten, model_hash, unflatten

Tensor = NDArray[np.float32]
_WEIGHTS = "weights/"
_STATISTICS = "statistics/"


@dataclass(frozen=True)
class ModelState:
    """What the federation has learned so far.

    Attributes:
        weights: float32 trainable tensors by parameter name.
        statistics: float32 released statistics by name.
    """

    weights: Mapping[str, Tensor]
    statistics: Mapping[str, Tensor]

    def tensors(self) -> dict[str, Tensor]:
        """All tensors under names that tell which is which."""
        named = {_WEIGHTS + name: tensor for name, tensor in self.weights.items()}
        named |= {_STATISTICS + name: tensor for name, tensor in self.statistics.items()}
        return {name: np.ascontiguousarray(value, dtype="<f4") for name, value in named.items()}

    def pack(self) -> bytes:
        """Safetensors bytes."""
        return save(self.tensors())

    def hash(self) -> bytes:
        """H(model), see ``tensors.model_hash``."""
        return model_hash(self.tensors())

    def flat_weights(self) -> NDArray[np.float64]:
        """float64 ``[d]``: the trainable weights in the order of their sorted names."""
        return flatten(self.weights).astype(np.float64)

    def with_flat_weights(self, flat: NDArray[np.float64]) -> ModelState:
        """The same state with other trainable weights, ``[d]``."""
        shapes = {name: weight.shape for name, weight in self.weights.items()}
        return ModelState(unflatten(flat, shapes), self.statistics)

    def with_statistics(self, released: Mapping[str, Tensor]) -> ModelState:
        """The same state with some statistics added or replaced."""
        return ModelState(self.weights, {**self.statistics, **released})

    @classmethod
    def unpack(cls, data: bytes) -> ModelState:
        """The inverse of ``pack``.

        Raises:
            Refusal: ``malformed``: not safetensors, another type than float32, an unknown name.
        """
        try:
            named = load(data)
        except SafetensorError as error:
            raise Refusal("malformed", "the model is not a safetensors file") from error
        weights, statistics = {}, {}
        for name, tensor in named.items():
            if tensor.dtype != np.float32:
                raise Refusal("malformed", f"the tensor {name} is not float32")
            if name.startswith(_WEIGHTS):
                weights[name.removeprefix(_WEIGHTS)] = tensor
            elif name.startswith(_STATISTICS):
                statistics[name.removeprefix(_STATISTICS)] = tensor
            else:
                raise Refusal("malformed", f"the tensor {name} is neither weight nor statistic")
        return cls(weights, statistics)
