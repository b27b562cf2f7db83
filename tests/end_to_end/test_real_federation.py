"""A real federation on loopback: SuperLink, four SuperNodes, four vaults, TLS and node keys."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import polars as pl
import pytest

import groundswell
from groundswell.client import enrolment
from groundswell.client.ledger import verify
from groundswell.client.site import Site, make_node_key
from groundswell.server import run_folder
from groundswell.server.coordinator_running import newest_run, status_figures
from groundswell.server.flower_commands import environment, program
from groundswell.server.registry import Registry
from groundswell.server.run_folder import RunStatus
from groundswell.shared.identity import SigningKey
from groundswell.shared.plan import GRADIENT
from groundswell.shared.roster import Head
from groundswell.simulation.demo import ROUNDS, SITES, DemoFederation
from groundswell.simulation.processes import free_port

pytestmark = pytest.mark.end_to_end

Trained = tuple[DemoFederation, RunStatus]


def test_two_secure_rounds_are_closed_at_every_site(trained: Trained) -> None:
    demo, status = trained
    assert status.state == run_folder.FINISHED, status.reason
    closed = demo.closed(GRADIENT)
    assert len(closed) == SITES
    assert set(closed.values()) == {ROUNDS}


def test_every_ledger_verifies_against_the_head_that_the_coordinator_kept(trained: Trained) -> None:
    demo, _ = trained
    heads = newest_run(demo.coordinator).heads()
    for site in demo.sites:
        key = SigningKey.read(site.keys / enrolment.KEY_FILE)
        row, digest = heads[site.settings.name]
        checked = verify(site.ledger_file, key.public, (Head(row, bytes.fromhex(digest)),))
        assert checked.problems == ()
        assert checked.head.row == row


def test_the_status_names_every_site(trained: Trained) -> None:
    demo, _ = trained
    figures = status_figures(demo.coordinator)
    assert figures["state"] == "finished"
    assert [site["state"] for site in figures["sites"]] == ["ready"] * SITES
    assert {"superlink", "superexec", "proxy"} <= set(figures["services"])


def test_the_model_forecasts_and_is_registered(trained: Trained) -> None:
    demo, _ = trained
    run = newest_run(demo.coordinator)
    model = groundswell.load_model(run.model_folder)
    frame = pl.read_parquet(demo.folder / "data" / "region-01.parquet").head(200)
    forecast = model.predict(frame)
    sums = forecast.group_by("user").agg(pl.col("probability").sum())
    assert (sums["probability"] - 1).abs().max() < 1e-3
    (version,) = Registry.open(str(demo.coordinator.folder / "registry")).listing().models
    assert version.version == "v1"
    manifest = json.loads((run.model_folder / "manifest.json").read_text())
    assert manifest["privacy"]["private"] is True
    assert manifest["privacy"]["seeded"] is False


def test_the_door_for_sites_leads_to_the_fleet_path_alone(trained: Trained) -> None:
    demo, _ = trained
    coordinator = demo.coordinator
    context = ssl.create_default_context(cafile=str(coordinator.tls.root))
    base = f"https://{coordinator.settings.address}"

    def post(path: str) -> int:
        request = urllib.request.Request(base + path, data=b"", method="POST")
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert post("/v1/control/start-run") == 404
    assert post("/v1/runtime/acquire-task") == 404
    # It reaches the SuperLink, which refuses whoever does not sign.
    assert post("/v1/fleet/pull-messages") not in (200, 404)


def test_plain_http_and_another_root_do_not_connect(trained: Trained, tmp_path: Path) -> None:
    demo, _ = trained
    address = demo.coordinator.settings.address
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        urllib.request.urlopen(f"http://{address}/healthz", timeout=10)
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(f"https://{address}/healthz", timeout=10)


def test_an_unregistered_node_key_is_refused(trained: Trained, tmp_path: Path) -> None:
    demo, _ = trained
    make_node_key(tmp_path)
    site: Site = demo.sites[0]
    done = subprocess.run(
        [
            program("flower-supernode"),
            *("--superlink", site.settings.address),
            *("--root-certificates", str(site.relay_keys / "root.pem")),
            *("--auth-supernode-private-key", str(tmp_path / "node.key")),
            *("--port", str(free_port()), "--isolation", "process"),
        ],
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert "305" in done.stdout + done.stderr
