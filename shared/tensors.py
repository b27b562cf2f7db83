"""Named tensors: their hash, and their order as one flat vector."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.errors import ModelError

Array = NDArray[np.generic]
Float32 = NDArray[np.float32]


def model_hash(tensors: Mapping[str, Array]) -> bytes:
    """SHA-256 over tensors sorted by name: name, shape, float32 little-endian (docs/privacy.md).

    A name is its UTF-8 bytes and a zero byte; a shape is the number of axes and each length, as
    little-endian int64.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name], dtype="<f4")
        digest.update(name.encode() + b"\0")
        digest.update(np.array([array.ndim, *array.shape], dtype="<i8").tobytes())
        digest.update(array.data if array.size else b"")
    return digest.digest()


def flatten(tensors: Mapping[str, Array]) -> Float32:
    """float32 ``[d]``: all tensors, sorted by name, in C order."""
    parts = [np.asarray(tensors[name], dtype=np.float32).ravel() for name in sorted(tensors)]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)


def unflatten(
    vector: NDArray[np.floating], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Float32]:
    """The inverse of ``flatten``.

    Raises:
        ModelError: the vector does not have as many values as the shapes ask for.
    """
    sizes = {name: int(np.prod(shapes[name], dtype=np.int64)) for name in sorted(shapes)}
    if vector.ndim != 1 or len(vector) != sum(sizes.values()):
        raise ModelError(f"a vector of {vector.shape} values for {sum(sizes.values())} weights")
    tensors, start = {}, 0
    for name, size in sizes.items():
        part = np.asarray(vector[start : start + size], dtype=np.float32)
        tensors[name] = part.reshape(shapes[name])
        start += size
    return tensors
