"""Chromium on a running gateway of a registry with two versions, a finished run and trends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Playwright, sync_playwright

from groundswell.server.gateway.federation import FinishedRun
from groundswell.server.gateway.hosting import Binding, Gateway, in_background
from groundswell.server.gateway.registry_source import RegistrySource
from groundswell.server.gateway.service import QueryService
from groundswell.server.registry import Registry
from groundswell.server.versions import Provenance
from groundswell.shared.errors import Refusal
from groundswell.shared.questions import (
    Horizon,
    LabelTrend,
    Privacy,
    Tier,
    Trend,
    TrendsAnswer,
    TrendsRequest,
)
from groundswell.shared.served import REGION_NOTE, WEAK_LOCAL_NOTE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


OWN = Privacy(
    central=Tier(epsilon=1.7, delta=1e-6, note=REGION_NOTE),
    local=Tier(epsilon=12.6, delta=1e-6, note=WEAK_LOCAL_NOTE),
)


class SomeTrends:
    """Three labels: one that rises, one that fades, one in the noise.

    Searches have the one that rises alone; so has the north, which released nothing but the
    demand by all actions. The south has too few windows.
    """

    def trends(self, request: TrendsRequest) -> TrendsAnswer:
        if request.region == "south":
            raise Refusal("no-trends", "too few windows were released to learn trends from")
        if request.region == "north" and request.action:
            raise Refusal("unknown-action", "it has: all actions together")
        if request.region not in (None, "north"):
            raise Refusal("unknown-region", "those of north, south did")
        part = request.region is not None or request.action is not None

        def label(name: str, values: tuple[float, ...], trend: Trend, surge: float) -> LabelTrend:
            last = values[-1]
            horizons = [Horizon(window=i, p50=last * 1.05**i, p90=last * 1.2**i) for i in (1, 2, 3)]
            return LabelTrend(
                label=name,
                resolvable=True,
                trend=trend,
                history=values,
                noise=(9.0,) * len(values),
                horizons=tuple(horizons),
                surge=surge,
                surge_low=surge / 2,
                surge_high=min(1.0, surge * 1.5),
                restock=last * (3.4 if trend is Trend.RISING else 2.1),
            )

        rising = (100.0, 108, 104, 121, 133, 129, 150, 171, 188, 214, 240, 282)
        fading = (300.0, 296, 310, 288, 270, 262, 251, 240, 220, 214, 190, 181)
        everything = (
            label("COFFEE", rising, Trend.RISING, 0.71),
            label("SOUP", fading, Trend.FADING, 0.02),
            LabelTrend(label="手机", resolvable=False, trend=Trend.STEADY, history=(), noise=()),
        )
        return TrendsAnswer(
            as_of=datetime(2026, 1, 26, tzinfo=UTC),
            window="7d",
            unit="shoppers a week",
            region=request.region,
            action=request.action,
            sites=3 if request.region else 8,
            privacy=OWN if request.region else Privacy(),
            trends=everything[:1] if part else everything,
            regions=("north", "south"),
            actions=() if request.region else ("search",),
        )


@pytest.fixture(scope="session")
def registry(
    tmp_path_factory: pytest.TempPathFactory, make_model: Callable[[Path, float], Path]
) -> Registry:
    folder = tmp_path_factory.mktemp("browser")
    registry = Registry.open(str(folder / "registry"))
    for number in (1, 2):
        model = make_model(folder / str(number), number / 10)
        metrics = {"ndcg@10": 0.45 + number / 100, "ndcg@10_se": 0.02}
        registry.add(model, Provenance(run="r1", round=40, metrics=metrics))
    return registry


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a finished simulation leaves."""
    folder = tmp_path_factory.mktemp("run")
    tier = {
        "epsilon": 2.4,
        "reserved_epsilon": 3.0,
        "noise_multiplier": 4.4,
        "tpr_at_1pct_fpr": 0.1,
    }
    local = {**tier, "epsilon": 7.4, "reserved_epsilon": 8.0}
    rounds = [
        {
            "round": i,
            "loss": None,
            "ndcg@10": 0.40 + 0.07 * (1 - 0.9**i),
            "central_epsilon": 1.4 + 0.02 * i,
            "local_epsilon": 4.3 + 0.06 * i,
            "bytes": 1000,
            "seconds": 1.0,
        }
        for i in range(1, 41)
    ]
    metrics = {"ndcg@10": {"mean": 0.4968, "sd": 0.0025, "n": 10}}
    results = {
        "privacy": {
            "private": True,
            "seeded": True,
            "delta": 1e-6,
            "central": tier,
            "local": local,
            "excludes": [],
        },
        "rows": [{"model": "federated_private", "slice": "all", "metrics": metrics}],
        "rounds": rounds,
        "sites": {
            name: {"central": {"used": 2.4, "cap": 3.0}, "local": {"used": used, "cap": cap}}
            for name, used, cap in (
                ("north", 33.0, 44.81),
                ("south", 27.55, 40.0),
                ("harbour", 27.55, 40.0),
                ("old-town", 27.55, 40.0),
            )
        },
    }
    (folder / "results.json").write_text(json.dumps(results))
    for name in ("north", "south", "harbour", "old-town"):
        (folder / "sites" / name).mkdir(parents=True)
    return folder


@pytest.fixture(scope="session")
def url(registry: Registry, run_folder: Path) -> Iterator[str]:
    service = QueryService(RegistrySource(registry), SomeTrends())
    gateway = Gateway(service, FinishedRun(run_folder), Binding("127.0.0.1", 0))
    with in_background(gateway):
        yield f"http://127.0.0.1:{gateway.http_port}"


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as found:
        yield found


@pytest.fixture
def context(playwright: Playwright, tmp_path: Path) -> Iterator[BrowserContext]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    context = playwright.chromium.launch_persistent_context(
        tmp_path / "profile",
        executable_path=CHROMIUM,
        headless=True,
        args=list(FLAGS),
        locale="en-GB",
        viewport={"width": 1280, "height": 900},
    )
    context.set_default_timeout(20_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page whose console must stay silent; a refusal of trends is an answer, which 404 tells."""
    page = context.new_page()
    said: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        refused = "/v1/trends?" in message.location["url"] and "status of 404" in message.text
        if not refused:
            said.append(message.text)

    page.on("console", listen)
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    assert said == []
