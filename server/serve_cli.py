"""``groundswell serve``: the query gateway with its dashboard."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundswell.shared.errors import InputError
from groundswell.shared.text_engine_name import TextEngineName

if TYPE_CHECKING:
    from groundswell.server.gateway.federation import FederationView
    from groundswell.server.gateway.service import QueryService

app = typer.Typer()


@app.command()
def serve(
    model: Annotated[
        Path | None, typer.Option(help="One model folder (development: loopback, no token).")
    ] = None,
    registry: Annotated[
        str | None,
        typer.Option(envvar="GROUNDSWELL_REGISTRY", help="Registry: a folder or a database URL."),
    ] = None,
    files: Annotated[
        str | None, typer.Option(help="fsspec URL of the models' files, with a database URL.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Key that signs versions; else the registry's own.")
    ] = None,
    coordinator: Annotated[
        Path | None, typer.Option(help="Coordinator's folder, for the federation's health.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="HTTP port.")] = 8080,
    grpc_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="gRPC port; 0: off; default: HTTP port + 1."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    text_engine: Annotated[
        TextEngineName, typer.Option(help="What encodes free text; int8 is fastest.")
    ] = TextEngineName.ONNX,
    line: Annotated[
        str,
        typer.Option(metavar="NAME", help="Catalogue that answers by default, of several."),
    ] = "",
    behind_proxy: Annotated[
        bool, typer.Option(help="A proxy before this gateway ends TLS.")
    ] = False,
) -> None:
    """Answer questions over HTTP and gRPC, and show the dashboard.

    Example: groundswell serve --model runs/demo/model --port 8080
    """
    if (model is None) == (registry is None):
        raise InputError(
            "--model", str(model), "name either a model folder or a registry", "see --help"
        )
    if (tls_cert is None) != (tls_key is None):
        raise InputError(
            "--tls-cert", str(tls_cert), "certificate and key go together", "name both"
        )
    from groundswell.server.gateway.hosting import Binding, run

    required = grpc_port is not None
    binding = Binding(host, port, _grpc(port, grpc_port), required, tls_cert, tls_key)
    if model is not None:
        if not binding.loopback:
            raise InputError(
                "--host",
                host,
                "a model folder is served without tokens, so on loopback only",
                "serve a registry with tokens and a certificate",
            )
        service, view = _of_folder(model, text_engine)
    else:
        if not binding.loopback and tls_cert is None and not behind_proxy:
            raise InputError(
                "--host",
                host,
                "tokens must not travel in clear",
                "name --tls-cert and --tls-key, or say --behind-proxy",
            )
        service, view = _of_registry(registry or "", files, key, coordinator, text_engine, line)
    run(service, view, binding)


def _of_folder(model: Path, text_engine: TextEngineName) -> tuple[QueryService, FederationView]:
    """One model, and the run beside it."""
    from groundswell.server.gateway.federation import FinishedRun
    from groundswell.server.gateway.service import QueryService
    from groundswell.server.gateway.sources import FolderSource
    from groundswell.server.trends import ModelTrends
    from groundswell.shared.served import serve_folder

    source = FolderSource(model, partial(serve_folder, engine=text_engine))
    service = QueryService(source, ModelTrends(source.model))
    return service, FinishedRun(model.resolve().parent)


def _of_registry(
    registry: str,
    files: str | None,
    key: Path | None,
    coordinator: Path | None,
    text_engine: TextEngineName,
    line: str,
) -> tuple[QueryService, FederationView]:
    """All versions of a registry, guarded by its tokens; by default those of ``line`` answer."""
    from groundswell.server.gateway.federation import CoordinatorRuns, FinishedRun
    from groundswell.server.gateway.registry_source import RegistrySource, check_not_empty
    from groundswell.server.gateway.service import QueryService
    from groundswell.server.registry import Registry
    from groundswell.server.tokens import Tokens
    from groundswell.server.trends import ModelTrends
    from groundswell.shared.served import serve_folder

    opened = Registry.open(registry, files, key)
    check_not_empty(opened)
    if line:
        opened.champion(line)  # one that there is not is told now
    source = RegistrySource(opened, partial(serve_folder, engine=text_engine), line=line)
    # Nobody waits for the first load, and a model that can't be read is told now.
    if source.listing().default:
        source.model(None)
    trends = ModelTrends(source.model)
    view = CoordinatorRuns(coordinator) if coordinator else FinishedRun(Path(registry))
    return QueryService(source, trends, Tokens(opened.engine)), view


def _grpc(port: int, wanted: int | None) -> int | None:
    if wanted is not None:
        return wanted or None
    return port + 1 if 0 < port < 65535 else None
