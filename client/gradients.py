"""Per-user gradients of the forecast loss by Opacus, and their clipped, integer sum.

Protected unit: one user. Opacus gives a gradient for every example; the examples of a user are
folded, weighted so that a user's loss is the mean over the user's examples, before the one clip.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn

from groundswell.client.mechanism import clip_and_round
from groundswell.shared.batches import Batch, Inputs
from groundswell.shared.errors import ModelError
from groundswell.shared.histories import Float32, Histories, Int64
from groundswell.shared.model import InterestModel, forecast_loss, trainable
from groundswell.shared.targets import presence_targets

USERS_AT_ONCE = 128
ROWS_OF_A_PASS = 16
SELF_CHECK_TOLERANCE = 1e-5  # relative, float32

# Opacus's hooks sit on maps whose inputs are frozen embeddings, which is meant.
warnings.filterwarnings("ignore", message="Full backward hook is firing")


@dataclass(frozen=True)
class ClipRule:
    """How a user's gradient becomes an integer vector; values of the plan.

    Attributes:
        clip_norm: C; scale: Delta; max_nonzero: m; mode: ``flat`` or ``auto_s``.
    """

    clip_norm: float
    scale: int
    max_nonzero: int
    mode: str = "flat"


class IntegerDPOptimizer(DPOptimizer):
    """Opacus's optimiser, clipping and adding in integers instead of summing floats.

    A site never steps: it takes ``total`` away, adds noise to it in integers and hands it over. The
    coordinator steps on the sum over sites.

    Attributes:
        total: int64 ``[d]``, sum of the users' integer vectors so far, parameters sorted by name.
        keys: rounding keys of the users of the next ``clip_and_accumulate``.
    """

    def __init__(self, parameters: dict[str, nn.Parameter], rule: ClipRule) -> None:
        ordered = [parameters[name] for name in sorted(parameters)]
        super().__init__(
            torch.optim.SGD(ordered, lr=0.0),
            noise_multiplier=0.0,
            max_grad_norm=rule.clip_norm,
            expected_batch_size=None,
            loss_reduction="sum",
        )
        self.rule = rule
        self.keys: Sequence[bytes] = ()
        self.total: NDArray[np.int64] = np.zeros(sum(p.numel() for p in ordered), dtype=np.int64)

    def clip_and_accumulate(self) -> None:
        """Clip each user's gradient, round it to integers, and add it to ``total``."""
        samples = [self._get_flat_grad_sample(p) for p in self.params]
        users = len(samples[0])
        flat = torch.cat([sample.reshape(users, -1) for sample in samples], dim=1)
        rule = self.rule
        self.total += clip_and_round(
            flat.double().cpu().numpy(),
            rule.clip_norm,
            rule.scale,
            rule.max_nonzero,
            self.keys,
            rule.mode,
        ).sum(axis=0)

    def step(self, closure: object = None) -> float | None:
        """A site never steps; raises ModelError."""
        raise ModelError("a data site does not step: only the coordinator does, on a noised sum")


class PerUserGradients:
    """Gradients of users' losses with respect to the trainable weights.

    Args:
        model: its hooks stay on until ``close``; load new weights into it between rounds.
        inputs: makes the batches; its statistics may be replaced between rounds.
        users_at_once: users of one pass; bounds memory.
    """

    def __init__(
        self, model: InterestModel, inputs: Inputs, users_at_once: int = USERS_AT_ONCE
    ) -> None:
        self.model = model
        self.inputs = inputs
        self.users_at_once = users_at_once
        self.parameters = trainable(model)
        self._hang_hooks()

    def close(self) -> None:
        """Take Opacus's hooks off the model, and what they kept of a pass that broke off."""
        self.hooks.to_standard_module()
        for module in self.model.modules():
            for name in ("activations", "max_batch_len"):
                vars(module).pop(name, None)

    def _hang_hooks(self) -> None:
        self.hooks = GradSampleModule(self.model, batch_first=True, loss_reduction="sum")
        # In evaluation mode Opacus keeps no activations; every dropout is 0 anyhow.
        self.hooks.train()
        self._broke_off = False

    def vectors(
        self, h: Histories, row: Int64, at: Int64
    ) -> Iterator[tuple[Int64, NDArray[np.floating]]]:
        """Each user's gradient, not clipped.

        Args:
            h: one row a user, whole histories.
            row: int64 ``[n]``, ascending: the user of every example.
            at: int64 ``[n]``, its prediction time, microseconds.

        Yields:
            Rows of ``h``, int64 ``[u]``, and their gradients ``[u, d]``, parameters sorted by name.
        """
        for users in self._passes(h, row, at):
            samples = [_grad_sample(self.parameters[name]) for name in sorted(self.parameters)]
            flat = torch.cat([sample.reshape(len(users), -1) for sample in samples], dim=1)
            yield users, flat.detach().cpu().numpy()

    def integer_sum(
        self,
        h: Histories,
        row: Int64,
        at: Int64,
        keys: Sequence[bytes],
        rule: ClipRule,
        slots: int | None = None,
    ) -> NDArray[np.int64]:
        """int64 ``[d]``: the sum of the users' clipped, rounded gradients.

        Args:
            keys: a rounding key for every row of ``h`` (see ``mechanism.rounding_keys``).
            slots: users' worth of work to do in all, dummies as filling; None: no dummies. Each
                dummy costs what an example costs and is then thrown away.
        """
        optimiser = IntegerDPOptimizer(self.parameters, rule)
        for users in self._passes(h, row, at):
            optimiser.keys = [keys[user] for user in users]
            optimiser.clip_and_accumulate()
        optimiser.zero_grad()
        if slots is not None:
            self._fill(optimiser, slots - len(np.unique(row)))
        return optimiser.total

    def _fill(self, optimiser: IntegerDPOptimizer, dummies: int) -> None:
        """Do the work of ``dummies`` users without adding anything to ``optimiser.total``."""
        h, _, at = made_up(len(self.inputs.catalogue), self.inputs.task.window_us)
        total = optimiser.total.copy()
        for start in range(0, dummies, self.users_at_once):
            rows = np.zeros(min(self.users_at_once, dummies - start), dtype=np.int64)
            filling = h.take(rows)
            places = np.arange(len(rows), dtype=np.int64)
            for users in self._passes(filling, places, np.full(len(rows), at[0])):
                optimiser.keys = [bytes(32)] * len(users)
                optimiser.clip_and_accumulate()
            optimiser.zero_grad()
        optimiser.total = total

    def losses(self, h: Histories, row: Int64, at: Int64) -> Float32:
        """float32 ``[n]``: the loss of every example, without gradients."""
        if not len(row):
            return np.zeros(0, dtype=np.float32)
        with torch.no_grad():
            batch, targets = self.batch(h, row, at)
            loss = forecast_loss(self.model(batch), targets, batch.unrecent)
        return loss.float().cpu().numpy()

    def _passes(self, h: Histories, row: Int64, at: Int64) -> Iterator[Int64]:
        """Leave every parameter's ``grad_sample`` as ``[u, ...]``, one entry a user.

        A pass has a multiple of ``ROWS_OF_A_PASS`` rows, dummies of weight 0 among them: for a
        handful of rows, matrix products take other kernels, and a user's last bits would depend on
        how many others there are.

        Where the last pass broke off, the hooks are hung on anew: Opacus counts forward and
        backward passes, and one without its other half would spoil all that follow, on other
        users' events.
        """
        if self._broke_off:
            self.close()
            self._hang_hooks()
        self._broke_off = True
        users, first, counts = np.unique(row, return_index=True, return_counts=True)
        for start in range(0, len(users), self.users_at_once):
            chosen = slice(start, start + self.users_at_once)
            examples = np.arange(first[chosen][0], first[chosen][-1] + counts[chosen][-1])
            share = np.repeat(1.0 / counts[chosen], counts[chosen])
            owner = np.repeat(np.arange(len(counts[chosen])), counts[chosen])
            padding = -len(examples) % ROWS_OF_A_PASS
            rows = np.concatenate([examples, np.full(padding, examples[0])])
            self._backward(h, row[rows], at[rows], np.concatenate([share, np.zeros(padding)]))
            self._fold(torch.from_numpy(owner), len(counts[chosen]))
            yield users[chosen]
            self.hooks.zero_grad()
        self._broke_off = False

    def _backward(self, h: Histories, row: Int64, at: Int64, share: NDArray[np.float64]) -> None:
        batch, targets = self.batch(h, row, at)
        logits = self.hooks(batch)
        loss = forecast_loss(logits, targets, batch.unrecent)
        torch.autograd.backward((loss * torch.from_numpy(share).to(loss)).sum())

    def batch(self, h: Histories, row: Int64, at: Int64) -> tuple[Batch, Tensor]:
        rows = h.take(row)
        labels = len(self.inputs.catalogue.labels)
        targets = presence_targets(rows, at, self.inputs.task.window_us, labels)
        dtype = self.model.head.weight.dtype
        batch = self.inputs.batch(rows, at, both_views=True)
        device = self.model.device
        return batch.to(dtype).on(device), torch.from_numpy(targets).to(device, dtype)

    def _fold(self, owner: Tensor, users: int) -> None:
        """Add up each user's examples and drop the dummies behind them."""
        for parameter in self.parameters.values():
            samples = _grad_sample(parameter)[: len(owner)]
            if len(samples) != users:
                folded = samples.new_zeros(users, *samples.shape[1:])
                samples = folded.index_add_(0, owner.to(samples.device), samples)
            vars(parameter)["grad_sample"] = samples


def self_check(gradients: PerUserGradients, h: Histories, row: Int64, at: Int64) -> float:
    """Largest relative difference between folded gradients and a plain loop over users.

    A site runs this on made-up histories before its first round: a hook that silently stopped
    working would void the privacy guarantee.

    Raises:
        ModelError: the difference is above ``SELF_CHECK_TOLERANCE``, or a user's gradient depends
            on who else is in the pass.
    """
    check_independence(gradients, h, row, at)
    worst = 0.0
    for users, found in gradients.vectors(h, row, at):
        for user, vector in zip(users, found, strict=True):
            expected = _plain_gradient(gradients, h, row[row == user], at[row == user])
            norm = max(float(np.linalg.norm(expected)), 1e-12)
            worst = max(worst, float(np.linalg.norm(vector - expected)) / norm)
    if not worst <= SELF_CHECK_TOLERANCE:
        raise ModelError(
            f"per-user gradients are off by {worst:.1e} of their norm; refusing to go on"
        )
    return worst


def _grad_sample(parameter: nn.Parameter) -> Tensor:
    """What Opacus hung on a parameter: ``[examples, ...]``."""
    found: Tensor = vars(parameter)["grad_sample"]
    return found


def _plain_gradient(
    gradients: PerUserGradients, h: Histories, row: Int64, at: Int64
) -> NDArray[np.floating]:
    """One user's gradient by autograd alone, ``[d]``."""
    sampled = gradients.hooks
    sampled.disable_hooks()
    padding = -len(row) % ROWS_OF_A_PASS
    filled = np.concatenate([np.arange(len(row)), np.zeros(padding, dtype=np.int64)])
    batch, targets = gradients.batch(h, row[filled], at[filled])
    losses = forecast_loss(gradients.model(batch), targets, batch.unrecent)
    loss = losses[: len(row)].mean()
    parameters = [gradients.parameters[name] for name in sorted(gradients.parameters)]
    parts = torch.autograd.grad(loss, parameters)
    sampled.enable_hooks()
    return np.asarray(torch.cat([part.reshape(-1) for part in parts]).cpu().numpy())


def check_independence(gradients: PerUserGradients, h: Histories, row: Int64, at: Int64) -> None:
    """Check that a user's gradient is the same to the bit in any company and any place.

    The integers of the release follow from the gradient, and one user may move one user's integers
    alone. MKL keeps this only where ``MKL_CBWR`` is set as in ``groundswell/__init__.py`` before
    its first call.

    Raises:
        ModelError: some gradient changed.
    """
    users = len(h)
    alone = {
        int(users[0]): vectors[0]
        for user in np.unique(row)
        for users, vectors in gradients.vectors(h, row[row == user], at[row == user])
    }
    mirrored = h.take(np.arange(users - 1, -1, -1))
    order = np.argsort(users - 1 - row, kind="stable")
    for found, vectors in gradients.vectors(mirrored, (users - 1 - row)[order], at[order]):
        for user, vector in zip(found, vectors, strict=True):
            if not np.array_equal(alone[users - 1 - int(user)], vector):
                raise ModelError(
                    "a user's gradient depends on who else is in the pass; refusing to go on: "
                    "import groundswell before torch, so that MKL_CBWR=AUTO,STRICT is in force"
                )


def made_up(labels: int, window_us: int) -> tuple[Histories, Int64, Int64]:
    """Histories of five invented users with an example each, and two for the last one.

    Returns:
        Histories, and user and time of each example (microseconds).
    """
    users, events = 5, 6
    step = window_us
    time = np.tile(np.arange(events, dtype=np.int64) * step, users)
    number = np.arange(users * events, dtype=np.int64)
    label = ((number * 7 + number // events) % labels).astype(np.int32)
    histories = Histories(
        users=tuple(f"invented-{user}" for user in range(users)),
        offsets=np.arange(users + 1, dtype=np.int64) * events,
        time=time,
        label=label,
        weight=np.ones(users * events, dtype=np.float32),
        action=np.zeros(users * events, dtype=np.int16),
        token=label,
        basket=np.tile(np.arange(events, dtype=np.int32), users),
    )
    row = np.array([0, 1, 2, 3, 4, 4], dtype=np.int64)
    return histories, row, np.array([3, 4, 5, 3, 4, 5], dtype=np.int64) * step
