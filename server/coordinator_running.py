"""What the coordinator's commands do: start, watch and resume runs, and start the services."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from groundswell.server import run_folder
from groundswell.server.audit_log import AuditLog
from groundswell.server.coordinator import Coordinator
from groundswell.server.run_folder import RunFolder, RunStatus
from groundswell.shared.errors import GroundswellError, InputError, ModelError
from groundswell.shared.supervision import all_ready, read_state, stop_supervisor

_START_SECONDS = 120.0


def status_figures(coordinator: Coordinator) -> dict[str, Any]:
    """What ``status --json`` prints: state, round, and each admitted site.

    Without a run, or before one, sites are those admitted. ``services`` names what runs.
    """
    supervised = read_state(coordinator.state_file)
    runs = coordinator.runs()
    newest = runs[-1].status() if runs else RunStatus("idle", "")
    sites = {
        site.name: {"name": site.name, "state": site.state, "ledger_row": site.ledger_row}
        for site in newest.sites
    }
    for member in coordinator.members():
        name = member.certificate.name
        sites.setdefault(name, {"name": name, "state": "admitted", "ledger_row": 0})
    return {
        "state": newest.state if supervised else "down",
        "run": newest.run,
        "round": newest.round,
        "rounds": newest.rounds,
        "step": newest.step,
        "reason": newest.reason,
        "sites": [sites[name] for name in sorted(sites)],
        "refusals": list(newest.refusals),
        "services": {
            name: each["state"]
            for name, each in (supervised or {"services": {}})["services"].items()
        },
    }


def new_run(
    coordinator: Coordinator, rounds: int | None, start: Path | None, region: str = ""
) -> RunFolder:
    """Make a plan for the sites that are admitted now, and a folder for its run.

    Args:
        rounds: instead of the configuration's; 0 is the refresh of the statistics alone.
        start: folder of a released model to begin with.
        region: release the demand of this region's sites alone, and add it to ``start``.

    Raises:
        InputError: ``start`` is no model, or a region's demand has no model to go with.
        Refusal: ``region-too-small``.
    """
    from groundswell.server.coordinator_planning import Workshop, new_plan
    from groundswell.server.released_model import folders
    from groundswell.shared.checkpoint import read_manifest
    from groundswell.shared.identity import sealed_plan

    if start is not None and not folders(start):
        raise InputError("--from", str(start), "is no model folder", "name one with a manifest")
    if region and start is None:
        raise InputError(
            "--region", region, "its demand goes with a released model", "name one with --from"
        )
    if region and start is not None:
        begun = {read_manifest(each)["catalogue_hash"] for each in folders(start)}
        for catalogue in coordinator.catalogues_in_use():
            if catalogue.hash not in begun:
                raise InputError(
                    "--from",
                    str(start),
                    f"a region's demand is added to the models of all catalogues in use, and "
                    f"{catalogue.name} is not among these",
                    "name a run's folder of models, such as runs/RUN/model",
                )
    plan = new_plan(coordinator, Workshop.open(coordinator, rounds=rounds), region)
    run = coordinator.run_folder(plan.run)
    run.create(plan, sealed_plan(plan.canonical_bytes(), coordinator.key))
    if start is not None:
        shutil.copytree(start, run.path / "start")
    return run


def newest_run(coordinator: Coordinator) -> RunFolder:
    """The newest run; raises ``GroundswellError`` where there is none."""
    runs = coordinator.runs()
    if not runs:
        raise GroundswellError("there is no run yet; begin one with `coordinator train`")
    return runs[-1]


def launch(coordinator: Coordinator, run: RunFolder) -> None:
    """Have Flower start a ServerApp for the run, from its beginning or from its last state."""
    from groundswell.server.coordinator_services import bundle_of, flower_of

    flower = flower_of(coordinator)
    flower.configure()
    # A ServerApp of this run that is still there would work on the same files.
    for each in flower.runs():
        if not str(each["status"]).startswith("finished"):
            flower.stop(int(each["run-id"]))
    run.write_status(RunStatus(run_folder.STARTING, run.name, rounds=run.plan().rounds))
    flower.run(bundle_of(coordinator), {"folder": str(coordinator.folder), "run": run.name})
    AuditLog(coordinator.folder / "audit.jsonl").write("run-started", run=run.name)


def follow(run: RunFolder, tell: Callable[[str], None]) -> RunStatus:
    """Tell a line for every change until the run has ended; returns how it did."""
    last = ""
    while True:
        try:
            now = run.status()
        except ModelError:
            time.sleep(1)
            continue
        line = f"{now.state}: {now.step or 'start'}, round {now.round} of {now.rounds}"
        line += f" ({now.reason})" if now.reason else ""
        if line != last:
            tell(line)
            last = line
        if now.state in run_folder.ENDED:
            return now
        if now.state == run_folder.STARTING and time.time() - now.updated > _START_SECONDS:
            raise GroundswellError("no ServerApp started; see logs/superexec.log")
        time.sleep(0.5)


def detach(coordinator: Coordinator) -> None:
    """Start ``up`` in the background, and wait until every service is ready.

    Raises:
        GroundswellError: something did not start; the logs say what.
    """
    from groundswell.server.coordinator_services import services

    coordinator.logs.mkdir(exist_ok=True)
    with (coordinator.logs / "supervisor.log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "groundswell", "coordinator", "up", str(coordinator.folder)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    expected = services(coordinator)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if all_ready(expected, coordinator.state_file):
            return
        time.sleep(0.2)
    stop_supervisor(coordinator.state_file)
    raise GroundswellError(f"the coordinator did not start; see {coordinator.logs}")


class Every:
    """Calls a function at most once in so many seconds."""

    def __init__(self, seconds: float, function: Callable[[], None]) -> None:
        self._seconds = seconds
        self._function = function
        self._last = 0.0

    def call(self) -> None:
        """Call it if it is due."""
        if time.monotonic() - self._last >= self._seconds:
            self._function()
            self._last = time.monotonic()


def register_new(coordinator: Coordinator, audit: AuditLog) -> None:
    """Let newly admitted sites connect; a failure is noted and tried again the next time."""
    from groundswell.server.coordinator_services import listens, register_members

    if not listens(coordinator.settings.superlink_port):
        return
    try:
        for name in register_members(coordinator):
            audit.write("registered", site=name)
    except (GroundswellError, subprocess.TimeoutExpired) as error:
        audit.write("register-failed", reason=str(error)[:200])
