"""Every kind of release, on the real model: what one user can change is one bounded vector."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from groundswell.client.annotate import encode_site
from groundswell.client.contributions import SiteData, Workplace
from groundswell.client.statistic_jobs import SparseJob, StatisticJob
from groundswell.shared.backbone import encode_catalogue
from groundswell.shared.config_file import load_config
from groundswell.shared.errors import Refusal
from groundswell.shared.events import SCHEMA
from groundswell.shared.plan import GRADIENT, Plan
from groundswell.shared.spec import ModelSpec
from groundswell.shared.statistics import STATISTICS, statistic_of
from groundswell.shared.task import Task
from groundswell.shared.transfer import ModelState
from groundswell.simulation import audit_data
from groundswell.simulation.setting import Setting

KINDS = {
    "repeat": ("popularity", "h5", "pairs", "demand", "gradient", "evaluation"),
    "next": ("popularity", "transitions", "gradient", "evaluation"),
}
HEAVY = "user-heavy"
EVENTS = 1_000_000
SECRET = bytes(range(32))


class Site:
    """One site's users before preparation, and the plan that it works under."""

    def __init__(self, head: str) -> None:
        statistics = [kind for kind in KINDS[head] if kind in STATISTICS]
        chosen = {
            "model.head": head,
            "privacy.eps_l": 50.0,
            "train.rounds": 2,
            "train.evaluations": 1,
            "train.examples_per_user": 2,
            "model.statistics": statistics,
            "model.demand_actions": ["search"] if "demand" in statistics else [],
            "task.actions": {"purchase": 1.0, "search": 0.0},
        }
        config = load_config(None, chosen).config
        invented = audit_data.invent(4, 5, np.random.default_rng(1))
        dataset = replace(invented, task=Task(actions=config.task.actions))
        self.setting = Setting.build(config, dataset, 0)
        spec = ModelSpec.of(config.model)
        self.plan: Plan = self.setting.plan(config, spec)
        usual = next(iter(dataset.sites.values()))
        self.events = pl.concat([usual, searches(usual), heavy(usual)]).sort("user", "time")
        self.users = sorted(set(self.events["user"]))
        self.places: dict[tuple[str, ...], Workplace] = {}
        self.state = ModelState(self.setting.initial_model(spec).weights, self._released(head))

    def _released(self, head: str) -> dict[str, NDArray[np.float32]]:
        """Statistics as after a first release, for the kinds that build on others."""
        known: dict[str, NDArray[np.float32]] = {}
        draw = np.random.default_rng(2)
        catalogue, unit = self.setting.dataset.catalogue, self.setting.encoded.unit
        for name in KINDS[head]:
            if name not in STATISTICS:
                continue
            kind = statistic_of(name, beside=KINDS[head])
            noisy = draw.normal(20, 5, kind.dimension(len(catalogue)))
            known |= kind.estimate(noisy, 100.0, 0.1, catalogue, known, unit)
        return known

    def sum_of(self, kind: str, users: list[str]) -> NDArray[np.int64]:
        """int64 ``[d]``: the release of a site that has these users, before the noise."""
        place = self.places.get(tuple(users))
        if place is None:
            place = self.places[tuple(users)] = self.workplace(users)
        release = self.plan.release(kind)
        assert release is not None
        due = {GRADIENT: 1, "evaluation": 3}.get(kind, 3)
        job = place.job(release, due, self.state)
        return job.integer_sum(np.arange(job.users), SECRET, None)

    def workplace(self, users: list[str]) -> Workplace:
        """These users prepared anew, as if there had never been others."""
        setting = self.setting
        rows = self.events.filter(pl.col("user").is_in(users))
        prepared = encode_site(rows, setting.dataset.catalogue, setting.dataset.task)
        data = SiteData(prepared, setting.dataset.catalogue, setting.backbone, setting.encoded)
        return Workplace(data, self.plan)


def searches(usual: pl.DataFrame) -> pl.DataFrame:
    """Before every fourth purchase its buyer searches for the thing in words."""
    return usual.gather_every(4).with_columns(
        pl.col("time") - timedelta(minutes=5),
        pl.lit("search").alias("action"),
        pl.lit(None, pl.String).alias("label"),
        pl.format("a shop for {}", "label").alias("text"),
    )


def heavy(usual: pl.DataFrame) -> pl.DataFrame:
    """A million events of one user, over all the time and all the labels of the others."""
    labels = usual["label"].unique().sort()
    number = pl.int_range(EVENTS, dtype=pl.Int64)
    step = audit_data.WEEKS * audit_data.WEEK / EVENTS
    return pl.select(
        pl.lit(usual["site"][0]).alias("site"),
        pl.lit(HEAVY).alias("user"),
        (pl.lit(audit_data.START) + number * step).alias("time"),
        pl.lit(pl.Series(["search", "purchase", "purchase"])).gather(number % 3).alias("action"),
        pl.lit(None, pl.String).alias("item"),
        pl.lit(labels).gather(number % len(labels)).alias("label"),
        pl.lit(None, pl.String).alias("text"),
        pl.lit(1.0).alias("value"),
    ).cast(SCHEMA)


@pytest.fixture(scope="module")
def site() -> Site:
    return Site("repeat")


@pytest.fixture(scope="module")
def site_of_items() -> Site:
    return Site("next")


def norm_squared(vector: NDArray[np.int64]) -> int:
    return sum(int(value) ** 2 for value in vector)


@pytest.mark.parametrize(
    ("head", "kind"), [(head, kind) for head, kinds in KINDS.items() for kind in kinds]
)
def test_removing_any_user_changes_the_sum_by_that_users_vector_and_at_most_delta(
    head: str, kind: str, request: pytest.FixtureRequest
) -> None:
    """One user of six has a million events, and counts no more than another."""
    site: Site = request.getfixturevalue("site_of_items" if head == "next" else "site")
    release = site.plan.release(kind)
    assert release is not None
    whole = site.sum_of(kind, site.users)
    assert whole.shape == (release.dimension,)
    moved = 0
    for user in site.users:
        others = [each for each in site.users if each != user]
        alone = site.sum_of(kind, [user])
        assert np.array_equal(whole - site.sum_of(kind, others), alone)
        assert norm_squared(alone) <= release.scale**2
        moved += bool(alone.any())
    assert moved > 1


def test_a_sparse_statistic_is_the_dense_one_without_the_zeros(site_of_items: Site) -> None:
    """Clip and rounding see a user's values alone, so both ways give the same integers."""
    release = site_of_items.plan.release("transitions")
    assert release is not None
    place = site_of_items.workplace(site_of_items.users)
    job = place.job(release, 3, site_of_items.state)
    assert isinstance(job, SparseJob)
    rows = np.arange(job.users)
    assert np.array_equal(
        job.integer_sum(rows, SECRET, None), StatisticJob.integer_sum(job, rows, SECRET, None)
    )
    assert job.real_sum(rows, SECRET) == pytest.approx(StatisticJob.real_sum(job, rows, SECRET))


@pytest.mark.parametrize(
    ("head", "kind", "need"),
    [("repeat", "pairs", "pairs_popularity"), ("next", "transitions", "transitions_nearest")],
)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 1), None])
def test_a_statistic_of_another_shape_is_refused_before_anything_is_charged(
    head: str,
    kind: str,
    need: str,
    shape: tuple[int, ...] | None,
    request: pytest.FixtureRequest,
) -> None:
    site: Site = request.getfixturevalue("site_of_items" if head == "next" else "site")
    release = site.plan.release(kind)
    assert release is not None
    known = dict(site.state.statistics)
    # None: the last axis doubled.
    wrong = np.concatenate([known[need]] * 2, axis=-1) if shape is None else np.zeros(shape)
    known[need] = np.asarray(wrong, dtype=np.float32)
    place = site.workplace(site.users)
    with pytest.raises(Refusal, match=f"{kind} needs the released {need}"):
        place.job(release, 3, ModelState(site.state.weights, known))


def test_a_search_in_words_alone_counts_in_the_block_of_searches(site: Site) -> None:
    release = site.plan.release("demand")
    assert release is not None
    assert release.actions == ("search",)
    for user in site.users:
        rows = site.events.filter(pl.col("user") == user)
        assert (rows["action"] == "search").any()
        all_actions, searched = site.sum_of("demand", [user]).reshape(2, -1)
        assert all_actions.any()
        assert searched.any()


def test_a_plan_for_an_action_that_the_task_does_not_know_is_refused(site: Site) -> None:
    release = site.plan.release("demand")
    assert release is not None
    other = release.model_copy(update={"actions": ("share",)})
    plan = site.plan.model_copy(
        update={"releases": tuple(other if r is release else r for r in site.plan.releases)}
    )
    with pytest.raises(Refusal, match="no action share") as refused:
        Workplace(site.setting.site_data(site.setting.sites.names[0]), plan)
    assert refused.value.code == "plan-mismatch"


def test_a_site_arrives_at_the_first_model_of_a_plan_whose_a_trains(site: Site) -> None:
    setting = site.setting
    plan = setting.plan(setting.config, ModelSpec(frozen_a=False))
    place = Workplace(setting.site_data(setting.sites.names[0]), plan)
    assert any("lora_A" in name for name in place.weights)
    others = setting.plan(setting.config, ModelSpec(frozen_a=False), run="0" * 32)
    assert others.initial_model_hash == plan.initial_model_hash


def test_texts_encoded_for_another_number_of_layers_are_refused(site: Site) -> None:
    setting, plan = site.setting, site.plan
    catalogue = setting.dataset.catalogue
    other = encode_catalogue(setting.backbone, catalogue, plan.model["layers"] + 1)
    data = SiteData(setting.sites.pooled, catalogue, setting.backbone, other)
    with pytest.raises(Refusal, match="another number of top layers") as refused:
        Workplace(data, plan)
    assert refused.value.code == "plan-mismatch"
