"""Starts a site in the background, and has its vault begin anew."""

from __future__ import annotations

import subprocess
import sys
import time

from groundswell.client.site import Site
from groundswell.client.supervisor import services
from groundswell.shared.errors import GroundswellError
from groundswell.shared.supervision import (
    ProcessName,
    all_ready,
    read_state,
    stop_supervisor,
)

_START_SECONDS = 240.0


def start_in_background(site: Site) -> subprocess.Popen[bytes]:
    """Run ``site up`` in a session of its own; see ``wait_until_up``."""
    with (site.logs / "supervisor.log").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "groundswell", "site", "up", str(site.folder)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_until_up(site: Site, process: subprocess.Popen[bytes]) -> None:
    """Return when every service of the site is ready; else stop what did start.

    Raises:
        GroundswellError: something did not start; the logs say what.
    """
    expected = services(site)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if all_ready(expected, site.state_file):
            return
        time.sleep(0.2)
    stop_supervisor(site.state_file)
    raise GroundswellError(f"the site {site.settings.name} did not start; see {site.logs}")


def restart_vault(site: Site) -> None:
    """The supervisor starts it anew, with what changed on disk."""
    state = read_state(site.state_file)
    vault = (state or {"services": {}})["services"].get("vault", {})
    if vault.get("pid"):
        ProcessName(vault["pid"], vault["started"]).end(10.0)
