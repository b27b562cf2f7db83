"""Which labels go together: association vectors, their released Gram matrix, and its denoising."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.products import rows_times

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

FLOOR = 3e-4  # least popularity that weighs a label
LARGEST_WEIGHT = 6.0  # largest inverse-root-popularity weight over the median
RANK = 80  # directions in which labels are compared: a smaller matrix drowns less in its noise
LARGEST_STRETCH = 3.0  # most that a user's projected vector is lengthened
EDGE_MARGIN = 1.05  # eigenvalues below this multiple of the noise edge are dropped


def label_scales(popularity: NDArray[np.floating]) -> Float64:
    """float64 ``[L]``: min(p^-1/2 / median, 6), finite for any ``p``."""
    p = np.nan_to_num(np.asarray(popularity, dtype=np.float64), nan=FLOOR, posinf=1.0, neginf=FLOOR)
    root = np.clip(p, FLOOR, 1.0) ** -0.5
    return np.minimum(root / np.median(root), LARGEST_WEIGHT)


def association_vectors(counts: NDArray[np.floating], popularity: NDArray[np.floating]) -> Float64:
    """A user's labels as a vector in which popular labels don't drown the others.

    log1p(count), times ``label_scales``, to unit norm, without its part along sqrt(p), times
    min(2, 1 / norm).

    Args:
        counts: ``[U, L]``, occasions per label.
        popularity: ``[L]``, an earlier release, untrusted: the norm bound holds for any value.

    Returns:
        float64 ``[U, L]``, each row of norm at most 1; a row of zeros stays zeros.
    """
    x = np.log1p(np.asarray(counts, dtype=np.float64)) * label_scales(popularity)
    x = _unit(x)
    p = np.nan_to_num(np.asarray(popularity, dtype=np.float64), nan=FLOOR, posinf=1.0, neginf=FLOOR)
    root = np.sqrt(np.clip(p, FLOOR, 1.0))
    root /= np.linalg.norm(root)
    x = x - (x * root).sum(axis=1, keepdims=True) * root
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    lengthened: Float64 = x * np.minimum(2.0, 1.0 / np.maximum(norm, 1e-12))
    return lengthened


def directions(popularity: NDArray[np.floating], kernel: Float64) -> Float64:
    """The directions in which labels are compared, float64 ``[L, min(RANK, L)]``, orthonormal.

    Leading eigenvectors of sqrt(p) kernel sqrt(p): popular labels stand more or less alone, rare
    ones lean on labels with a similar text, group and size. Public, or free post-processing.

    Args:
        kernel: similarity of the labels, ``[L, L]``.
    """
    root = np.sqrt(np.clip(np.asarray(popularity, dtype=np.float64), FLOOR, 1.0))
    _, vectors = np.linalg.eigh(kernel * root[:, None] * root)
    return np.ascontiguousarray(vectors[:, ::-1][:, :RANK])


def projected(x: Float64, basis: NDArray[np.floating]) -> Float64:
    """Association vectors along ``basis``, lengthened at most ``LARGEST_STRETCH`` times to norm 1.

    Returns:
        float64 ``[U, R]``, rows of norm at most 1 whatever the basis holds; zeros stay zeros.
    """
    finite = np.nan_to_num(np.asarray(basis, dtype=np.float64), posinf=0.0, neginf=0.0)
    # Not a matrix product: its last bits would depend on how many other users there are.
    z = np.einsum("ul,lr->ur", x, finite, optimize=False)
    norm = np.linalg.norm(z, axis=1, keepdims=True)
    lengthened: Float64 = z * np.minimum(LARGEST_STRETCH, 1.0 / np.maximum(norm, 1e-12))
    return lengthened


def released_pairs(z: Float64) -> Float64:
    """Upper triangles of ``z z^T``, off-diagonals times sqrt 2: ``[U, R (R + 1) / 2]``."""
    upper, right = np.triu_indices(z.shape[1])
    return z[:, upper] * z[:, right] * np.where(upper == right, 1.0, np.sqrt(2.0))


def denoised_factor(mean: Float64, noise_std: float, basis: NDArray[np.floating]) -> Float64:
    """Factor F, ``[L, R]``, with F F^T near the clean Gram matrix of the labels.

    A symmetric Gaussian noise matrix with off-diagonal deviation ``noise_std / sqrt 2`` has its
    spectrum's edge at ``noise_std sqrt(2 R)``; what lies below ``EDGE_MARGIN`` times that is
    dropped, what lies above is shrunk to sqrt(value^2 - edge^2), the optimum in Frobenius norm for
    a spiked Wigner matrix (Gavish and Donoho 2017, section VII).

    Args:
        mean: released mean over users, ``[R (R + 1) / 2]``.
        noise_std: deviation of the noise on each coordinate of ``mean``.
        basis: ``[L, R]``.
    """
    rank = basis.shape[1]
    upper, right = np.triu_indices(rank)
    gram = np.zeros((rank, rank))
    gram[upper, right] = mean * np.where(upper == right, 1.0, np.sqrt(0.5))
    gram[right, upper] = gram[upper, right]
    values, vectors = np.linalg.eigh(gram)
    edge = noise_std * np.sqrt(2.0 * rank)
    shrunk = np.sqrt(np.maximum(values**2 - edge**2, 0.0))
    shrunk[values < EDGE_MARGIN * edge] = 0.0
    factor: Float64 = basis @ (vectors * np.sqrt(shrunk))[:, ::-1]
    return factor


def associations(counts: NDArray[np.floating], popularity: Float32, factor: Float32) -> Float32:
    """How much each label goes with a user's labels, from the denoised Gram matrix.

    Returns:
        float32 ``[U, L]``, any sign, in units of the label's own deviation: the reconstruction
        divided by ``label_scales``.
    """
    x = association_vectors(counts, popularity).astype(np.float32)
    reconstructed = rows_times(rows_times(x, factor), factor.T)
    return (reconstructed / label_scales(popularity).astype(np.float32)).astype(np.float32)


def _unit(x: Float64) -> Float64:
    norm: Float64 = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(norm > 0, norm, 1.0)
