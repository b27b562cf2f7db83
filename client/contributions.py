"""What a site adds to each kind of release: the exact integer sum of its users' bounded vectors.

``SiteData`` is events and public tables of the site, in memory; ``Workplace`` the same under one
accepted plan: task, label space, model. A job is one release that was asked for, checked whole
before anything is computed (``job.py``); here stand those that run the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from groundswell.client.examples import choose, eligible_times
from groundswell.client.gradients import ClipRule, PerUserGradients, made_up, self_check
from groundswell.client.job import ATTEMPT, Job, Sums
from groundswell.client.mechanism import rounding_keys
from groundswell.client.prepared import PreparedSite
from groundswell.client.statistic_jobs import SparseJob, StatisticJob
from groundswell.shared.backbone import Backbone, Encoded
from groundswell.shared.batches import Inputs
from groundswell.shared.blocks import dimension, max_nonzero, own_statistics
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.device import preferred
from groundswell.shared.errors import InputError, ModelError, Refusal
from groundswell.shared.histories import Float32, Histories, Int64
from groundswell.shared.metrics import hits, ndcg
from groundswell.shared.model import InterestModel, initialise, load_weights, weights_of
from groundswell.shared.plan import (
    EVALUATION,
    GRADIENT,
    Phase,
    Plan,
    PlannedRelease,
    evaluation_rounds,
)
from groundswell.shared.searched import nearest_labels, with_labels_of_texts
from groundswell.shared.spec import ModelSpec
from groundswell.shared.statistic_kind import SparseKind
from groundswell.shared.statistics import STATISTICS, statistic_of
from groundswell.shared.targets import label_weights
from groundswell.shared.task import Task
from groundswell.shared.transfer import ModelState

_SCORED_AT_ONCE = 512
# Models whose gradients were checked in this process.
_CHECKED: set[tuple[str, str]] = set()
# Models for which the GPU failed that check, so that the processor computes them.
_ON_THE_PROCESSOR: set[tuple[str, str]] = set()
_EXAMPLES = b"examples\0"


@dataclass(frozen=True)
class SiteData:
    """A site's prepared events and the public things that it works with.

    Attributes:
        prepared: one row a user.
        catalogue: the public catalogue of the site.
        backbone: the allow-listed language model.
        encoded: the catalogue's texts through it, as for the plan's number of layers.
        encoded_texts: the same of the users' further texts; None: encoded when a plan comes.
    """

    prepared: PreparedSite = field(repr=False)
    catalogue: Catalogue = field(repr=False)
    backbone: Backbone = field(repr=False)
    encoded: Encoded | None = field(default=None, repr=False)
    encoded_texts: Encoded | None = field(default=None, repr=False)

    def workplace(self, plan: Plan) -> Workplace:
        """The site under an accepted plan; raises as ``Workplace`` does."""
        return Workplace(self, plan)


class Workplace:
    """A site under one plan.

    Attributes:
        number: the place of the site's catalogue among the plan's.

    Raises:
        Refusal: ``unknown-catalogue``, ``unknown-backbone``, ``unknown-model``, or
            ``plan-mismatch`` where the plan's numbers are not those of its model and catalogue.
    """

    def __init__(self, data: SiteData, plan: Plan) -> None:
        number = plan.catalogue_number(data.catalogue.hash)
        if number is None or plan.catalogues[number].labels != len(data.catalogue):
            raise Refusal("unknown-catalogue", "the plan does not hold this site's catalogue")
        if data.backbone.hash != plan.backbone_hash:
            raise Refusal("unknown-backbone", "the plan names another backbone than this site has")
        self.plan = plan
        self.number = number
        self.histories = data.prepared.histories
        self.catalogue = data.catalogue
        try:
            self.task = Task.model_validate(plan.task)
            self.spec = ModelSpec.from_dict(plan.model)
        except (ValueError, InputError) as error:
            raise Refusal("plan-mismatch", f"task or model can't be read: {error}") from error
        encoded = {each.top for each in (data.encoded, data.encoded_texts) if each is not None}
        if encoded - {self.spec.layers}:
            raise Refusal(
                "plan-mismatch", "the site's texts were encoded for another number of top layers"
            )
        inputs = Inputs(self.spec, self.task, data.catalogue, data.backbone, encoded=data.encoded)
        if data.encoded_texts is None:
            self.inputs = inputs.with_texts(data.prepared.texts)
        else:
            self.inputs = inputs.with_encoded(data.encoded_texts)
        self.model = InterestModel(self.spec, data.backbone, self.inputs.space)
        initialise(self.model, plan.hash())
        self.weights = weights_of(self.model)
        initial = ModelState(self.weights, {})
        if initial.hash().hex() != plan.initial_model_hash:
            raise Refusal("unknown-model", "the plan's first model is not what it describes")
        self._check_dimensions(len(initial.flat_weights()))
        self.model.to(preferred())
        self.gradients = PerUserGradients(self.model, self.inputs)
        self._check_gradients()

    def _check_gradients(self) -> None:
        """The start-up self-check, once for each model in a process: it costs a second."""
        described = (self.plan.backbone_hash, str(sorted(self.plan.model.items())))
        if not self.weights:
            return
        probe = made_up(len(self.catalogue), self.task.window_us)
        if self.model.device.type != "cpu" and described not in _CHECKED:
            try:
                self_check(self.gradients, *probe)
            except ModelError:
                # Not every GPU's kernels give a user the same bits in any company.
                _ON_THE_PROCESSOR.add(described)
        if described in _ON_THE_PROCESSOR:
            self.model.to("cpu")
        if described not in _CHECKED:
            self_check(self.gradients, *probe)
            _CHECKED.add(described)

    def job(self, release: PlannedRelease, round_number: int, model: ModelState) -> Job:
        """Check a request against the plan.

        Raises:
            Refusal: ``wrong-round``: the release is not due there; ``malformed``: the model's
                tensors are not those of the plan's model.
        """
        phase = self._phase(release, round_number)
        if phase is Phase.ROUNDS or phase is Phase.EVALUATION:
            shapes = {name: weight.shape for name, weight in self.weights.items()}
            if {name: weight.shape for name, weight in model.weights.items()} != shapes:
                raise Refusal("malformed", "the weights are not those of the plan's model")
        if phase is Phase.ROUNDS:
            return GradientJob(self, release, model)
        if phase is Phase.EVALUATION:
            return EvaluationJob(self, release, model)
        until = self.plan.schedule.stats_until
        if phase is Phase.REFRESH:
            until = self.plan.schedule.train_until
        kind = statistic_of(release.kind, release.actions, self.plan.kinds)
        if isinstance(kind, SparseKind):
            return SparseJob(self, release, model, kind, until)
        return StatisticJob(self, release, model, kind, until)

    def own_statistics(self, model: ModelState) -> dict[str, Float32]:
        """What a model knows of the site's own catalogue, by plain names."""
        return own_statistics(model.statistics, self.plan.catalogues, self.number)

    def searched(self, h: Histories) -> Histories:
        """The same events, searches under the labels that their words are about."""
        return with_labels_of_texts(h, self._nearest, len(self.catalogue))

    @cached_property
    def _nearest(self) -> NDArray[np.int32]:
        """The label of each of the site's further texts; -1 where none is near."""
        further = self.inputs.tables.events.unit[len(self.catalogue) :]
        return nearest_labels(further, self.inputs.space.embeddings)

    def _phase(self, release: PlannedRelease, round_number: int) -> Phase:
        after = self.plan.rounds + 1
        due = {
            GRADIENT: dict.fromkeys(range(1, after), Phase.ROUNDS),
            EVALUATION: dict.fromkeys(
                evaluation_rounds(self.plan.rounds, release.count), Phase.EVALUATION
            ),
        }.get(release.kind, {0: Phase.STATISTICS, after: Phase.REFRESH})
        phase = due.get(round_number)
        if phase is None or phase not in release.phases:
            raise Refusal("wrong-round", f"{release.kind} is not due in round {round_number}")
        return phase

    def _check_dimensions(self, weights: int) -> None:
        catalogues = self.plan.catalogues
        for release in self.plan.releases:
            if release.kind == GRADIENT:
                expected = (weights, weights)
            elif release.kind == EVALUATION:
                expected = (2, 2)
            elif release.kind in STATISTICS:
                kind = statistic_of(release.kind, release.actions, self.plan.kinds)
                expected = (dimension(kind, catalogues), max_nonzero(kind, catalogues))
            else:
                raise Refusal("unknown-kind", f"this site computes no {release.kind!r}")
            unknown = set(release.actions) - set(self.task.action_names)
            if unknown:
                raise Refusal(
                    "plan-mismatch", f"the task knows no action {', '.join(sorted(unknown))}"
                )
            if (release.dimension, release.max_nonzero) != expected:
                raise Refusal("plan-mismatch", f"{release.kind} has not the size that it needs")


class ModelJob(Job):
    """A job that runs the model: its weights and statistics are put in place first."""

    def __init__(self, workplace: Workplace, release: PlannedRelease, model: ModelState) -> None:
        super().__init__(workplace, release, model)
        self.workplace: Workplace = workplace

    def load(self) -> None:
        """Put the request's weights and statistics in place."""
        place = self.workplace
        place.inputs.statistics = place.own_statistics(self.model)
        load_weights(place.model, self.model.weights)


class GradientJob(ModelJob):
    """Per-user gradients of the training loss on examples between the plan's times."""

    def integer_sum(self, rows: Int64, attempt_secret: bytes, slots: int | None) -> Sums:
        self.load()
        histories, row, at = self._examples(rows, attempt_secret)
        release = self.release
        rule = ClipRule(
            release.clip_norm, release.scale, release.max_nonzero, self.workplace.plan.clipping
        )
        keys = rounding_keys(ATTEMPT + attempt_secret, histories.users)
        return self.workplace.gradients.integer_sum(histories, row, at, keys, rule, slots)

    def vectors(
        self, rows: Int64, attempt_secret: bytes
    ) -> Iterator[tuple[Int64, NDArray[np.floating]]]:
        self.load()
        histories, row, at = self._examples(rows, attempt_secret)
        for users, vectors in self.workplace.gradients.vectors(histories, row, at):
            yield rows[users], vectors

    def _examples(self, rows: Int64, attempt_secret: bytes) -> tuple[Histories, Int64, Int64]:
        """The sampled users' histories, and user and time of each example."""
        place, schedule = self.workplace, self.workplace.plan.schedule
        window = place.task.window_us
        times = place.task.prediction_times(
            schedule.stats_until or 0, (schedule.train_until or 0) - window
        )
        histories = place.histories.take(rows)
        keys = rounding_keys(_EXAMPLES + attempt_secret, histories.users)
        eligible = eligible_times(histories, times, window)
        row, column = choose(eligible, place.plan.examples_per_user, keys)
        return histories, row, times[column] if len(times) else np.zeros(0, dtype=np.int64)


class EvaluationJob(ModelJob):
    """Each user's (mean NDCG@10 over the validation windows, 1); (0, 0) without a window."""

    def vectors(
        self, rows: Int64, attempt_secret: bytes
    ) -> Iterator[tuple[Int64, NDArray[np.floating]]]:
        self.load()
        for start in range(0, len(rows), _SCORED_AT_ONCE):
            block = rows[start : start + _SCORED_AT_ONCE]
            yield block, self._scores(self.workplace.histories.take(block))

    @torch.no_grad()
    def _scores(self, histories: Histories) -> NDArray[np.float64]:
        place = self.workplace
        total, windows = np.zeros(len(histories)), np.zeros(len(histories))
        times = np.asarray(place.plan.schedule.evaluate_at, dtype=np.int64)
        eligible = eligible_times(histories, times, place.task.window_us)
        for column, at in enumerate(times):
            here = np.flatnonzero(eligible[:, column])
            if not len(here):
                continue
            seen, moments = histories.take(here), np.full(len(here), at)
            coming = label_weights(seen, moments, place.task.window_us, len(place.catalogue))
            logits = place.model(place.inputs.batch(seen, moments))[:, 0].cpu().numpy()
            total[here] += np.nan_to_num(ndcg(hits(logits, coming > 0)))
            windows[here] += 1
        mean = total / np.maximum(windows, 1)
        return np.stack([mean, (windows > 0).astype(np.float64)], axis=1)
