"""Flower's own commands, as this product uses them: run an app, register a node, list, stop.

They speak to the SuperLink's Control API, which in open source takes orders from whoever reaches
it: so the SuperLink listens on loopback alone, and sites come in through a proxy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundswell.shared.errors import GroundswellError

_CONNECTION = "groundswell"
_TIMEOUT_SECONDS = 120.0

# No telemetry, no update checks, and no installing of packages while the system runs.
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}


def program(name: str) -> str:
    """Path of one of Flower's programs, beside this interpreter."""
    return str(Path(sys.executable).with_name(name))


def environment(home: Path) -> dict[str, str]:
    """What every Flower process gets: a folder of its own, and its programs found by bare name."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**QUIET, "FLWR_HOME": str(home), "PATH": path}


@dataclass(frozen=True)
class FlowerCommands:
    """Runs ``flwr`` against one SuperLink.

    Attributes:
        home: Flower's folder (``FLWR_HOME``).
        address: of the SuperLink, host and port.
        certificate: PEM file that its TLS certificate is checked against; None for plain HTTP.
    """

    home: Path
    address: str
    certificate: Path | None

    def configure(self) -> None:
        """Write Flower's configuration, which names the one connection."""
        security = (
            "insecure = true"
            if self.certificate is None
            else f'root-certificates = "{self.certificate}"'
        )
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "config.toml").write_text(
            f'[superlink]\ndefault = "{_CONNECTION}"\n\n'
            f'[superlink.{_CONNECTION}]\naddress = "{self.address}"\n{security}\n'
        )

    def run(self, bundle: Path, configuration: Mapping[str, str]) -> int:
        """Start a run of the app in ``bundle``; returns Flower's id of it."""
        pairs = " ".join(f'{key}="{value}"' for key, value in configuration.items())
        options = ["--run-config", pairs] if pairs else []
        answer = self._json("run", str(bundle), _CONNECTION, *options)
        return int(answer["run-id"])

    def register(self, public_key: Path) -> None:
        """Let the node of this key (OpenSSH or PEM, EC P-384) connect.

        Raises:
            GroundswellError: the key is registered already, or is none.
        """
        self._json("supernode", "register", str(public_key), _CONNECTION)

    def runs(self) -> list[dict[str, Any]]:
        """All runs, as Flower tells of them."""
        listed: list[dict[str, Any]] = self._json("ls", _CONNECTION)["runs"]
        return listed

    def nodes(self) -> list[dict[str, Any]]:
        """All registered nodes with their status."""
        listed: list[dict[str, Any]] = self._json("supernode", "list", _CONNECTION)["nodes"]
        return listed

    def stop(self, run_id: int) -> None:
        """End a run."""
        self._json("stop", str(run_id), _CONNECTION)

    def _json(self, *arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [program("flwr"), *arguments, "--format", "json"],
            env={**os.environ, **environment(self.home)},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
        try:
            answer: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            answer = {"success": False, "error-message": (done.stderr or done.stdout)[-500:]}
        if done.returncode or not answer.get("success"):
            reason = str(answer.get("error-message", "no reason given")).strip()
            raise GroundswellError(f"flwr {arguments[0]}: {reason}")
        return answer
