"""What runs released reaches an MLflow server, and nothing else does."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from groundswell.server import mlflow_tracking
from groundswell.server.audit_log import AuditLog
from groundswell.server.ca import LIST_FILE, PUBLIC_FILE, Authority
from groundswell.server.coordinator import Coordinator, settings_text
from groundswell.server.coordinator_services import MLFLOW, services
from groundswell.server.mlflow_tracking import Server, Tracker, connect, read_progress
from groundswell.server.telemetry import CoordinatorCollector
from groundswell.shared.errors import InputError
from groundswell.shared.plan import (
    CatalogueReference,
    OptimiserPlan,
    Phase,
    Plan,
    PlannedRelease,
    Schedule,
)
from groundswell.shared.wire import groundswell_pb2 as wire
from groundswell.simulation.processes import free_port

RUN = "ab" * 16
SITES = ["harbour-site", "valley-site"]
PARAMETERS = {
    *("plan", "catalogues", "optimiser", "learning_rate", "rounds", "threshold", "n_min"),
    *("colluders", "delta", "eps_c", "eps_l", "examples_per_user", "clipping", "backbone"),
    *("backbone_hash", "seconds_per_slot", "gradient/noise_multiplier", "gradient/sampling_rate"),
    *("gradient/clip_norm", "gradient/dimension", "gradient/count"),
}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with its tables and nothing else: making them takes a second."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    connect(f"sqlite:///{path}")
    return path


@pytest.fixture
def uri(empty: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copyfile(empty, tmp_path / 'mlflow.db')}"


@pytest.fixture
def coordinator(tmp_path: Path, uri: str) -> Coordinator:
    authority = Authority.create(tmp_path / "ca", now=0, days=30)
    text = settings_text(
        address="127.0.0.1:9443", revocations=authority.folder / LIST_FILE, mlflow=uri
    )
    made = Coordinator.create(
        tmp_path / "fleet", settings=text, task="", authority=authority.folder / PUBLIC_FILE
    )
    made.run_folder(RUN).create(plan(), wire.JoinRequest())
    return made


@pytest.fixture
def audit(coordinator: Coordinator) -> AuditLog:
    """The lines of a run of two rounds and a paid evaluation."""
    times = iter(range(100, 200))
    log = AuditLog(coordinator.folder / "audit.jsonl", clock=lambda: float(next(times)))
    log.write("up")
    log.write("admitted", site=SITES[0])
    log.write("run-started", run=RUN)
    close(log, "gradient", 1, 0.5)
    log.write("void", run=RUN, kind="gradient", round=2, code="too-few-survivors")
    close(log, "gradient", 2, 0.75)
    close(log, "evaluation", 3, 0.875, ndcg=0.25, ndcg_se=0.125)
    return log


def close(log: AuditLog, kind: str, number: int, epsilon: float, **score: float) -> None:
    log.write(
        "closed",
        **{"run": RUN, "kind": kind, "round": number, "survivors": SITES},
        **{"central_epsilon": epsilon, "local_epsilon": 2 * epsilon},
        **{"bytes": 1000 * number, "seconds": 1.5, "ndcg": None, "ndcg_se": None, **score},
    )


def plan() -> Plan:
    gradient = PlannedRelease(
        kind="gradient",
        phases=(Phase.ROUNDS,),
        noise_multiplier=1.5,
        sampling_rate=0.5,
        clip_norm=0.1,
        scale=1 << 20,
        dimension=2000,
        max_nonzero=2000,
        count=2,
        retries=1,
    )
    optimiser = OptimiserPlan(
        name="adam",
        learning_rate=0.1,
        adapter_learning_rate=0.01,
        momentum=0.9,
        beta2=0.99,
        cosine=True,
        average_from=0.5,
        weight_decay=0.0,
        l1=0.0,
    )
    return Plan(
        run=RUN,
        threshold=3,
        n_min=3,
        colluders=1,
        delta=1e-6,
        eps_c=3.0,
        eps_l=8.0,
        rounds=2,
        examples_per_user=1,
        clipping="flat",
        releases=(gradient,),
        catalogues=(CatalogueReference(name="demo", hash="c0" * 32, labels=300),),
        backbone="all-MiniLM-L6-v2",
        backbone_hash="b0" * 32,
        initial_model_hash="10" * 32,
        task={},
        model={},
        schedule=Schedule(train_from=None, stats_until=None, train_until=None, step=1),
        optimiser=optimiser,
        seconds_per_slot=0.0,
    )


def rows(uri: str, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        return sorted(database.execute(query).fetchall())


def metrics(uri: str) -> list[tuple[object, ...]]:
    return rows(uri, "SELECT key, step, value FROM metrics")


def test_released_values_arrive_and_no_others(
    coordinator: Coordinator, audit: AuditLog, uri: str, tmp_path: Path
) -> None:
    audit.write("run-ended", run=RUN, state="finished")
    assert Tracker(coordinator, lambda: connect(uri)).hand_on()
    assert metrics(uri) == sorted(
        [
            *(("round", step, step) for step in (1, 2, 3)),
            *zip(["central_epsilon"] * 3, (1, 2, 3), (0.5, 0.75, 0.875), strict=True),
            *zip(["local_epsilon"] * 3, (1, 2, 3), (1.0, 1.5, 1.75), strict=True),
            *(("gradient/bytes", 1, 1000), ("gradient/bytes", 2, 2000)),
            *(("gradient/seconds", 1, 1.5), ("gradient/seconds", 2, 1.5)),
            *(("evaluation/bytes", 3, 3000), ("evaluation/seconds", 3, 1.5)),
            *(("ndcg_at_10", 3, 0.25), ("ndcg_at_10_se", 3, 0.125)),
        ]
    )
    assert {key for (key,) in rows(uri, "SELECT key FROM params")} == PARAMETERS
    assert rows(uri, "SELECT value FROM params WHERE key = 'gradient/noise_multiplier'") == [
        ("1.5",)
    ]
    assert rows(uri, "SELECT key, value FROM tags") == [
        ("groundswell_run", RUN),
        ("groundswell_state", "finished"),
        ("mlflow.runName", RUN),
    ]
    assert rows(uri, "SELECT status, start_time, end_time FROM runs") == [
        ("FINISHED", 102_000, 107_000)
    ]
    stored = (tmp_path / "mlflow.db").read_bytes()
    assert not any(site.encode() in stored for site in SITES)


def test_a_kill_at_any_point_neither_loses_nor_doubles(
    coordinator: Coordinator, audit: AuditLog, uri: str
) -> None:
    assert Tracker(coordinator, lambda: connect(uri)).hand_on()
    once = metrics(uri)
    # Killed before it could note anything: all is handed on a second time.
    (coordinator.folder / mlflow_tracking.STATE_FILE).unlink()
    again = Tracker(coordinator, lambda: connect(uri))
    assert again.hand_on()
    assert metrics(uri) == once
    close(audit, "gradient", 4, 1.0)
    assert again.hand_on()
    assert len(metrics(uri)) == len(once) + 5
    assert len(rows(uri, "SELECT run_uuid FROM runs")) == 1


def test_half_a_line_waits_for_its_end(coordinator: Coordinator, audit: AuditLog, uri: str) -> None:
    tracker = Tracker(coordinator, lambda: connect(uri))
    path = coordinator.folder / "audit.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert tracker.hand_on()
    before = metrics(uri)
    path.write_bytes(whole)
    assert tracker.hand_on()
    assert len(metrics(uri)) == len(before) + 7


def test_a_server_that_goes_away_is_counted_and_gets_the_rest_later(
    coordinator: Coordinator,
    audit: AuditLog,
    uri: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    away = f"http://127.0.0.1:{free_port()}/private-name"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    servers: list[Callable[[], Server]] = [
        lambda: Server(connect(uri).client, "no such experiment"),  # fails in the middle
        lambda: connect(away),
        lambda: connect(uri),
    ]
    tracker = Tracker(coordinator, lambda: servers.pop(0)())
    assert [tracker.hand_on() for _ in range(3)] == [False, False, True]
    assert len(metrics(uri)) == 17
    assert read_progress(coordinator.folder).failures == 2
    registry = CollectorRegistry(auto_describe=False)
    registry.register(CoordinatorCollector(coordinator))
    assert registry.get_sample_value("groundswell_mlflow_failures_total") == 2
    assert len(caplog.messages) >= 2
    assert not any("private-name" in line for line in caplog.messages)


def test_a_server_that_can_not_be_used_is_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(InputError, match=r"mlflow: 'http.*leave the key empty"):
        connect(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(InputError, match="is not a tracking server"):
        connect("no-such-scheme://somewhere")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"not installed; pip install 'groundswell\[mlflow\]'"):
        connect(f"sqlite:///{tmp_path}/mlflow.db")


def test_it_is_off_unless_the_operator_names_a_server(coordinator: Coordinator) -> None:
    assert MLFLOW in {service.name for service in services(coordinator)}
    path = coordinator.folder / "coordinator.toml"
    path.write_text(
        "\n".join(line for line in path.read_text().splitlines() if "mlflow" not in line)
    )
    off = Coordinator(coordinator.folder)
    assert off.settings.mlflow == ""
    assert MLFLOW not in {service.name for service in services(off)}


def test_a_password_in_the_address_is_refused(coordinator: Coordinator) -> None:
    path = coordinator.folder / "coordinator.toml"
    text = path.read_text().replace("sqlite://", "https://user:secret@")
    path.write_text(text)
    with pytest.raises(InputError, match="may hold no password"):
        Coordinator(coordinator.folder)


def test_progress_is_kept_beside_the_audit_log(
    coordinator: Coordinator, audit: AuditLog, uri: str
) -> None:
    assert Tracker(coordinator, lambda: connect(uri)).hand_on()
    kept = json.loads((coordinator.folder / mlflow_tracking.STATE_FILE).read_text())
    size = (coordinator.folder / "audit.jsonl").stat().st_size
    assert kept == {"offset": size, "failures": 0}
