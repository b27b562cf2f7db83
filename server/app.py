"""The Flower ServerApp of a deployment: one run of one plan, in the coordinator's folder.

Flower starts it in a process of its own. Everything it needs stands on disk, and everything that
must survive it is written there; see ``deployed_run``.
"""

from __future__ import annotations

import logging
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from groundswell.server.coordinator import Coordinator
from groundswell.server.deployed_run import DeployedRun
from groundswell.server.flower_runtime import prompt
from groundswell.shared.logs import configure_logging

__all__ = ["app"]

log = logging.getLogger(__name__)
app = ServerApp()


@app.main()
def run(grid: Grid, context: Context) -> None:
    """Work off the plan of the run that the run configuration names (``folder`` and ``run``)."""
    coordinator = Coordinator(Path(str(context.run_config["folder"])))
    configure_logging("serverapp", file=coordinator.logs / "serverapp.log")
    folder = coordinator.run_folder(str(context.run_config["run"]))
    report = DeployedRun(coordinator, folder, prompt(grid)).go()
    log.info("run %s: %s %s", folder.name, report.outcome, report.reason)
