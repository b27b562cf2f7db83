"""``groundswell serve``: the query gateway with its dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from groundswell.shared.errors import InputError

app = typer.Typer()


@app.command()
def serve(
    model: Annotated[
        Path | None, typer.Option(help="One model folder (development, on loopback).")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="HTTP port.")] = 8080,
    grpc_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="gRPC port; 0: off; default: HTTP port + 1."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Answer questions over HTTP and gRPC, and show the dashboard.

    Example: groundswell serve --model runs/demo/model --port 8080
    """
    if model is None:
        raise InputError("--model", "", "there is nothing to serve", "name a model folder")
    from groundswell.server.gateway.federation import FinishedRun
    from groundswell.server.gateway.hosting import Binding, run
    from groundswell.server.gateway.service import QueryService
    from groundswell.server.gateway.sources import FolderSource

    binding = Binding(host, port, _grpc(port, grpc_port), grpc_port is not None)
    if not binding.loopback:
        raise InputError(
            "--host",
            host,
            "a model folder is served without tokens, so on loopback only",
            "serve a registry with tokens and a certificate",
        )
    run(QueryService(FolderSource(model)), FinishedRun(model.resolve().parent), binding)


def _grpc(port: int, wanted: int | None) -> int | None:
    if wanted is not None:
        return wanted or None
    return port + 1 if 0 < port < 65535 else None
