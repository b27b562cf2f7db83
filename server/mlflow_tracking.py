"""Hands what runs have released on to an MLflow server, if the operator names one.

A process of its own follows the audit log, as the metrics do, so a server that is away or slow
can't hold up a round: what it missed is handed on later. Of a line it takes the round, both
epsilons, bytes, seconds and a paid evaluation's NDCG@10, and of a run its plan, which every site
holds too; never what concerns a single site. Handing a line on twice changes nothing, so a kill
loses nothing.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundswell.server import run_folder
from groundswell.server.coordinator import Coordinator
from groundswell.server.run_folder import RunFolder
from groundswell.shared.errors import InputError
from groundswell.shared.logs import configure_logging
from groundswell.shared.plan import Plan
from groundswell.shared.supervision import write_atomically

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

log = logging.getLogger(__name__)

EXPERIMENT = "groundswell"
STATE_FILE = "mlflow.json"
_RUN_TAG = "groundswell_run"
_LOOK_SECONDS = 2.0
_LONGEST_WAIT_SECONDS = 60.0
# MLflow reports usage unless told not to, prints beside the log, and waits minutes for a server
# that is away.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}
_OF_PLAN = {
    *("rounds", "threshold", "n_min", "colluders", "delta", "eps_c", "eps_l"),
    *("examples_per_user", "clipping", "backbone", "backbone_hash", "seconds_per_slot"),
}
_OF_RELEASE = {"noise_multiplier", "sampling_rate", "clip_norm", "dimension", "count"}


@dataclass(frozen=True)
class Server:
    """An MLflow server, and its name of the experiment that holds all runs."""

    client: MlflowClient
    experiment: str


def connect(uri: str) -> Server:
    """The server at a tracking URI; the experiment is made where it is missing.

    Raises:
        InputError: the package is missing, or the server can't be used.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise InputError(
            "mlflow",
            uri,
            "is set, and the package mlflow-skinny is not installed",
            "pip install 'groundswell[mlflow]', or leave the key empty",
        )
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(EXPERIMENT)
        made = found.experiment_id if found else client.create_experiment(EXPERIMENT)
    except MlflowException as error:
        raise InputError(
            "mlflow",
            uri,
            f"is not a tracking server that answers ({str(error).splitlines()[0][:200]})",
            "start it or mend the address, or leave the key empty",
        ) from error
    return Server(client, str(made))


class Tracker:
    """Follows a coordinator's audit log from where it stopped; ``STATE_FILE`` says where that was.

    Args:
        connect: to the server; called again after a failure.
    """

    def __init__(self, coordinator: Coordinator, connect: Callable[[], Server]) -> None:
        self._coordinator = coordinator
        self._connect = connect
        self._server: Server | None = None
        self._runs: dict[str, str] = {}
        self._progress = read_progress(coordinator.folder)

    def hand_on(self) -> bool:
        """Hand on what is new; False where the server did not take it, and it is tried again."""
        try:
            self._server = self._server or self._connect()
        except InputError as error:
            return self._failed(error)
        from mlflow.exceptions import MlflowException

        path = self._coordinator.folder / "audit.jsonl"
        try:
            for line, end in _lines(path, self._progress.offset):
                self._take(self._server, line)
                self._keep(replace(self._progress, offset=end))
        except MlflowException as error:
            return self._failed(error)
        return True

    def _failed(self, error: Exception) -> bool:
        self._server = None
        self._keep(replace(self._progress, failures=self._progress.failures + 1))
        # The kind alone: a message may quote the address.
        log.warning("the MLflow server took nothing: %s", type(error).__name__)
        return False

    def _keep(self, progress: Progress) -> None:
        self._progress = progress
        path = self._coordinator.folder / STATE_FILE
        write_atomically(path, json.dumps(asdict(progress)).encode())

    def _take(self, server: Server, line: dict[str, Any]) -> None:
        event, at = line["event"], int(line["at"] * 1000)
        if event not in ("run-started", "closed", "run-ended"):
            return
        folder = self._coordinator.run_folder(line["run"])
        if not (folder.path / "plan.json").exists():
            return  # it was removed since
        if line["run"] not in self._runs:
            self._runs[line["run"]] = _run(server, folder, at)
        run = self._runs[line["run"]]
        if event == "run-started":
            server.client.update_run(run, status="RUNNING")
        elif event == "closed":
            _log_closed(server, run, line, at)
        else:
            told = {run_folder.FINISHED: "FINISHED", run_folder.FAILED: "FAILED"}
            server.client.set_tag(run, "groundswell_state", line["state"])
            server.client.set_terminated(run, told.get(line["state"], "KILLED"), end_time=at)


def _run(server: Server, folder: RunFolder, at: int) -> str:
    """The server's own name of a run, which is made where it is missing."""
    from mlflow.entities import Param

    client, name = server.client, folder.name
    found = client.search_runs([server.experiment], f"tags.{_RUN_TAG} = '{name}'")
    tags = {_RUN_TAG: name}
    known = found[0] if found else client.create_run(server.experiment, at, tags, run_name=name)
    run = str(known.info.run_id)
    values = plan_parameters(folder.plan())
    client.log_batch(run, params=[Param(key, str(value)) for key, value in values.items()])
    return run


def _log_closed(server: Server, run: str, line: dict[str, Any], at: int) -> None:
    from mlflow.entities import Metric

    values = {name: line[name] for name in ("round", "central_epsilon", "local_epsilon")}
    values |= {f"{line['kind']}/{name}": line[name] for name in ("bytes", "seconds")}
    if line.get("ndcg") is not None:
        values |= {"ndcg_at_10": line["ndcg"], "ndcg_at_10_se": line["ndcg_se"]}
    metrics = [Metric(key, float(value), at, line["round"]) for key, value in values.items()]
    server.client.log_batch(run, metrics=metrics)


def plan_parameters(plan: Plan) -> dict[str, str | float]:
    """What a run's plan says, by MLflow's names of parameters."""
    found: dict[str, str | float] = {
        **plan.model_dump(include=_OF_PLAN),
        "plan": plan.hash().hex(),
        "catalogues": ",".join(each.hash for each in plan.catalogues),
        "optimiser": plan.optimiser.name,
        "learning_rate": plan.optimiser.learning_rate,
    }
    for release in plan.releases:
        values = release.model_dump(include=_OF_RELEASE)
        found |= {f"{release.kind}/{name}": value for name, value in values.items()}
    return found


@dataclass(frozen=True)
class Progress:
    """How far the audit log was handed on, in bytes; ``failures``: since the folder was made."""

    offset: int = 0
    failures: int = 0


def read_progress(folder: Path) -> Progress:
    """The progress of the coordinator in this folder."""
    try:
        return Progress(**json.loads((folder / STATE_FILE).read_bytes()))
    except FileNotFoundError:
        return Progress()


def _lines(path: Path, offset: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Whole lines from ``offset`` on, each with the offset of its end."""
    with path.open("rb") as opened:
        opened.seek(offset)
        for raw in opened:
            if not raw.endswith(b"\n"):
                return
            offset += len(raw)
            yield json.loads(raw), offset


def main(arguments: list[str]) -> None:
    """``DIR``: hand on what is released until ended; a server that is away is asked ever less."""
    (folder,) = arguments
    configure_logging("mlflow")
    coordinator = Coordinator(Path(folder))
    tracker = Tracker(coordinator, lambda: connect(coordinator.settings.mlflow))
    wait = _LOOK_SECONDS
    while True:
        wait = _LOOK_SECONDS if tracker.hand_on() else min(2 * wait, _LONGEST_WAIT_SECONDS)
        time.sleep(wait)


if __name__ == "__main__":
    main(sys.argv[1:])
