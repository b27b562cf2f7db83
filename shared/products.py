"""Matrix products whose rows do not depend on each other, to the bit.

A user's vector is rounded to integers, and one user may move one user's integers alone. BLAS
libraries choose their kernels by the number of rows, so that the last bits of a row depend on how
many others there are. MKL in its strict mode (``groundswell/__init__.py``) does not, but for a
handful of rows; so rows are filled up here.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

_ROWS = 16

F = TypeVar("F", np.float32, np.float64)


def rows_times(rows: NDArray[F], matrix: NDArray[F]) -> NDArray[F]:
    """``rows @ matrix``; each row of the result depends on its own row alone, to the bit.

    Args:
        rows: ``[U, n]``.
        matrix: ``[n, m]``, or ``[n]`` for one product a row.
    """
    wide = matrix if matrix.ndim == 2 else np.repeat(matrix[:, None], 2, axis=1)
    product: NDArray[F] = (
        filled(torch.from_numpy(np.ascontiguousarray(rows)))
        @ torch.from_numpy(np.ascontiguousarray(wide, dtype=rows.dtype))
    ).numpy()[: len(rows)]
    return product if matrix.ndim == 2 else product[:, 0]


def filled(rows: torch.Tensor) -> torch.Tensor:
    """``rows`` (``[n, W]``) with zeros behind them, a multiple of 16 rows in all, for a product."""
    return torch.cat([rows, rows.new_zeros(-len(rows) % _ROWS, rows.shape[1])])
