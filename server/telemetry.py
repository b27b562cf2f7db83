"""Prometheus metrics of a coordinator, from what its runs wrote down.

A process of its own reads the status files and the audit log, so that nothing which handles sites'
messages also serves the curious. Values are public: counts, codes, epsilons, bytes and seconds.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from groundswell.server.coordinator import Coordinator
from groundswell.server.mlflow_tracking import read_progress
from groundswell.server.run_folder import ENDED, RunFolder, RunStatus
from groundswell.shared.errors import ModelError

_STATES = ("starting", "running", *ENDED)


class CoordinatorCollector(Collector):
    """Reads the folder at every scrape."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator

    def collect(self) -> Iterator[Metric]:
        """Metrics of all runs, and of the newest one in detail."""
        yield self._certificate()
        runs = self._coordinator.runs()
        yield from self._totals()
        if runs:
            yield from _newest(runs[-1])

    def _certificate(self) -> Metric:
        days = GaugeMetricFamily(
            "groundswell_tls_days_left", "Days until the server certificate ends."
        )
        days.add_metric([], self._coordinator.tls.days_left())
        return days

    def _totals(self) -> Iterator[Metric]:
        closed: dict[str, int] = {}
        void: dict[str, int] = {}
        carried, seconds = 0, 0.0
        for line in _lines(self._coordinator.folder / "audit.jsonl"):
            if line["event"] == "closed":
                kind = str(line["kind"])
                closed[kind] = closed.get(kind, 0) + 1
                carried += int(str(line["bytes"]))
                seconds += float(str(line["seconds"]))
            elif line["event"] == "void":
                code = str(line["code"])
                void[code] = void.get(code, 0) + 1
        attempts = CounterMetricFamily(
            "groundswell_attempts_closed", "Secure sums that closed.", labels=["kind"]
        )
        for kind, count in sorted(closed.items()):
            attempts.add_metric([kind], count)
        yield attempts
        failures = CounterMetricFamily(
            "groundswell_attempts_void", "Secure sums that ended void.", labels=["code"]
        )
        for code, count in sorted(void.items()):
            failures.add_metric([code], count)
        yield failures
        yield CounterMetricFamily(
            "groundswell_payload_bytes", "Payload of closed attempts.", value=carried
        )
        yield CounterMetricFamily(
            "groundswell_attempt_seconds", "Wall time of closed attempts.", value=seconds
        )
        yield CounterMetricFamily(
            "groundswell_mlflow_failures",
            "Times that the MLflow server did not take what was released.",
            value=read_progress(self._coordinator.folder).failures,
        )


def _newest(run: RunFolder) -> Iterator[Metric]:
    try:
        status = run.status()
        state = run.state()
    except ModelError:
        return
    yield _state(status)
    rounds = GaugeMetricFamily("groundswell_round", "Round of the newest run.")
    rounds.add_metric([], status.round)
    yield rounds
    sites = GaugeMetricFamily(
        "groundswell_site_ready", "Whether a site takes part.", labels=["site"]
    )
    rows = GaugeMetricFamily(
        "groundswell_site_ledger_row", "Highest signed ledger row of a site.", labels=["site"]
    )
    refusals = GaugeMetricFamily(
        "groundswell_site_refused", "A site refused with this code.", labels=["site", "code"]
    )
    for site in status.sites:
        sites.add_metric([site.name], site.state == "ready")
        rows.add_metric([site.name], site.ledger_row)
        if site.state not in ("ready", "away"):
            refusals.add_metric([site.name, site.state], 1)
    yield from (sites, rows, refusals)
    if state is not None and state.records:
        epsilon = GaugeMetricFamily(
            "groundswell_epsilon", "Epsilon that the newest run has spent.", labels=["tier"]
        )
        epsilon.add_metric(["central"], state.records[-1].central_epsilon)
        epsilon.add_metric(["local"], state.records[-1].local_epsilon)
        yield epsilon


def _state(status: RunStatus) -> Metric:
    metric = GaugeMetricFamily(
        "groundswell_run_state", "1 for the state of the newest run.", labels=["state"]
    )
    for name in _STATES:
        metric.add_metric([name], status.state == name)
    return metric


def _lines(path: Path) -> Iterator[dict[str, object]]:
    if not path.exists():
        return
    with path.open() as opened:
        for raw in opened:
            yield json.loads(raw)


def main(arguments: list[str]) -> None:
    """``DIR``: serve ``/metrics`` on loopback until ended."""
    (folder,) = arguments
    coordinator = Coordinator(Path(folder))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(CoordinatorCollector(coordinator))
    start_http_server(coordinator.settings.metrics_port, addr="127.0.0.1", registry=registry)
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
