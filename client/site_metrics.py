"""Prometheus metrics of a site on loopback: the vault's text file, and what the supervisor did."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from groundswell.client.site import Site


class SiteMetrics:
    """A WSGI application: ``GET /metrics``, and ``GET /healthz`` for probes."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def __call__(self, environment: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environment["REQUEST_METHOD"] != "GET":
            start("405 Method Not Allowed", [])
            return []
        if environment["PATH_INFO"] == "/metrics":
            start("200 OK", [("Content-Type", "text/plain; version=0.0.4; charset=utf-8")])
            return [self._vault(), self._services().encode()]
        if environment["PATH_INFO"] == "/healthz":
            well = all(each["state"] == "ready" for each in self._states().values())
            start("200 OK" if well else "503 Service Unavailable", [("Content-Type", "text/plain")])
            return [b"ok" if well else b"starting"]
        start("404 Not Found", [])
        return []

    def _vault(self) -> bytes:
        path = self._site.metrics_file
        return path.read_bytes() if path.exists() else b""

    def _services(self) -> str:
        lines = [
            "# HELP groundswell_service_up Whether a service of the site is ready.",
            "# TYPE groundswell_service_up gauge",
        ]
        states = self._states()
        for name, each in states.items():
            lines.append(
                f'groundswell_service_up{{service="{name}"}} {int(each["state"] == "ready")}'
            )
        lines += [
            "# HELP groundswell_service_restarts Restarts since the site was started.",
            "# TYPE groundswell_service_restarts gauge",
        ]
        for name, each in states.items():
            lines.append(f'groundswell_service_restarts{{service="{name}"}} {each["restarts"]}')
        return "\n".join(lines) + "\n"

    def _states(self) -> dict[str, dict[str, str | int | None]]:
        try:
            found: dict[str, dict[str, str | int | None]] = json.loads(
                self._site.state_file.read_bytes()
            )["services"]
        except (OSError, ValueError):
            return {}
        return found


class _Silent(WSGIRequestHandler):
    """A scrape every few seconds is not worth a line of log."""

    def log_message(self, format: str, *args: object) -> None:
        return


def serve_metrics(site: Site) -> None:
    """Serve on the site's metrics port, in a thread of this process that ends with it."""
    server = make_server(
        "127.0.0.1", site.settings.metrics_port, SiteMetrics(site), handler_class=_Silent
    )
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
