"""Everything that the report shows beside ``results.json``, gathered from a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from groundswell.server.applying import noise_deviation
from groundswell.shared.metrics import Calibration
from groundswell.shared.plan import EVALUATION, Plan
from groundswell.shared.results import Paired, Results
from groundswell.simulation import models, standings, summaries
from groundswell.simulation.evaluate import ALL, EvaluationSet, Measurement
from groundswell.simulation.report_parts.example import Example, example_user
from groundswell.simulation.setting import Setting

Groups = Mapping[str, tuple[float, float, int]]


@dataclass(frozen=True)
class Facts:
    """What a run was made of, and what its measurements say beyond the table.

    Attributes:
        data: name of the data set; ``generated``: its events are invented.
        notes: what the reader should know of how the data were divided.
        window: length of the window that is forecast.
        weeks: first and last prediction time that was measured, microseconds; None for none.
        windows: number of prediction times; ``tested``: they are test windows, not validation.
        colluders, honest: c, and n_min - c.
        caps: of eps_C and eps_L in the plan.
        against_subject: every model less the subject, paired over users.
        reliability: of the saved model on all labels, sums in bins of equal ratio.
        by_site: for a few models, NDCG@10 of each site: mean, standard error, rows.
        released_se: standard error that the noise alone gives the paid evaluation.
        example: one user's forecast; None where nobody was measured.
    """

    data: str
    generated: bool
    notes: tuple[str, ...]
    window: timedelta
    weeks: tuple[int, int] | None
    windows: int
    tested: bool
    colluders: int
    honest: int
    caps: tuple[float, float]
    against_subject: tuple[Paired, ...] = ()
    reliability: Calibration | None = field(default=None, repr=False)
    by_site: Mapping[str, Groups] = field(default_factory=dict)
    released_se: float | None = None
    example: Example | None = field(default=None, repr=False)

    @classmethod
    def gather(
        cls,
        setting: Setting,
        measured: Mapping[str, Sequence[Measurement]],
        results: Results,
        model_folder: Path,
        plan: Plan,
    ) -> Facts:
        """Read a run of ``plan``; the saved model is loaded from its folder."""
        dataset = setting.dataset
        ours = standings.subject(results)
        at = setting.measured.at
        saved = measured[ours][0].slices.get(ALL) if ours in measured and ours else None
        return cls(
            data=dataset.name,
            generated=dataset.generated,
            notes=dataset.notes,
            window=dataset.task.window,
            weeks=(int(at.min()), int(at.max())) if len(at) else None,
            windows=len(np.unique(at)),
            tested=bool(len(dataset.times.test)),
            colluders=plan.colluders,
            honest=plan.n_min - plan.colluders,
            caps=(plan.eps_c, plan.eps_l),
            against_subject=tuple(summaries.paired(measured, ours)) if ours else (),
            reliability=saved.reliability if saved else None,
            by_site=_by_site(setting, measured, ours),
            released_se=_released_se(setting, results, plan),
            example=example_user(setting, model_folder),
        )


def day(microseconds: int) -> str:
    """``6 November 2017``."""
    moment = datetime.fromtimestamp(microseconds / 1_000_000, UTC)
    return f"{moment.day} {moment:%B %Y}"


def window_words(window: timedelta) -> str:
    """``7 days`` or ``36 hours``."""
    if window % timedelta(days=1) == timedelta(0):
        return "1 day" if window.days == 1 else f"{window.days} days"
    return f"{window.total_seconds() / 3600:g} hours"


def _by_site(
    setting: Setting, measured: Mapping[str, Sequence[Measurement]], ours: str | None
) -> Mapping[str, Groups]:
    names = setting.sites.names
    group = [names[owner] for owner in setting.sites.owner.tolist()]
    found = {}
    for model in (ours, standings.HONEST_BASELINE, models.LOCAL_ONLY):
        if model in measured and model is not None and ALL in measured[model][0].slices:
            found[model] = summaries.by_group(measured[model][0].slices[ALL], group)
    return found


def _released_se(setting: Setting, results: Results, plan: Plan) -> float | None:
    """Standard error of a released score (delta method), as ``server/applying.py`` has it.

    It is taken at the number of users with a validation window, which the release itself gives
    with noise. A score over several catalogues has none here: their users are not all at hand.
    """
    scores = [each.ndcg for each in results.rounds if each.ndcg is not None]
    release = plan.release(EVALUATION)
    if not scores or not results.privacy.private or release is None or len(plan.catalogues) > 1:
        return None
    dataset = setting.dataset
    asked = EvaluationSet.build(
        setting.sites.pooled.histories,
        dataset.times.validation,
        dataset.task,
        len(dataset.catalogue),
    )
    users = max(1, len(np.unique(asked.row)))
    noise = noise_deviation(release, len(setting.sites.names))
    return noise * math.sqrt(1 + scores[-1] ** 2) / users
