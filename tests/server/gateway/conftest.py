"""A gateway of the small model, on real sockets, and one with tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from groundswell.server.gateway.federation import NoFederation
from groundswell.server.gateway.hosting import Binding, Gateway, in_background
from groundswell.server.gateway.service import QueryService
from groundswell.server.gateway.sources import FolderSource
from groundswell.server.registry import Registry
from groundswell.server.tokens import Scope, Tokens
from groundswell.shared.answering import ServedModel
from groundswell.shared.questions import utc_now


@dataclass(frozen=True)
class Running:
    """Addresses of a running gateway."""

    url: str
    grpc: str
    service: QueryService


@contextmanager
def running(service: QueryService, **limits: float) -> Iterator[Running]:
    """Run a gateway on free ports of the loopback address."""
    gateway = Gateway(service, NoFederation(), Binding("127.0.0.1", 0, 0), **limits)
    with in_background(gateway):
        yield Running(
            f"http://127.0.0.1:{gateway.http_port}", f"127.0.0.1:{gateway.grpc_port}", service
        )


@pytest.fixture(scope="module")
def gateway(served: ServedModel) -> Iterator[Running]:
    """A development gateway: no tokens."""
    source = FolderSource(Path(), load=lambda folder: served)
    with running(QueryService(source)) as found:
        yield found


@pytest.fixture(scope="module")
def registry(
    tmp_path_factory: pytest.TempPathFactory, make_model: Callable[[Path, float], Path]
) -> Registry:
    """Two versions, the first of them champion."""
    from groundswell.server.versions import Provenance

    folder = tmp_path_factory.mktemp("guarded")
    registry = Registry.open(str(folder / "registry"))
    for number in (1, 2):
        model = make_model(folder / str(number), number / 10)
        registry.add(model, Provenance(metrics={"ndcg@10": 0.5, "ndcg@10_se": 0.01}))
    return registry


@pytest.fixture(scope="module")
def guarded(registry: Registry) -> Iterator[Running]:
    """A gateway of a registry, with tokens."""
    from groundswell.server.gateway.registry_source import RegistrySource

    service = QueryService(RegistrySource(registry), tokens=Tokens(registry.engine))
    with running(service) as found:
        yield found


@pytest.fixture(scope="module")
def token(registry: Registry) -> Callable[..., str]:
    """Makes tokens: ``token("predict", "trends")``."""

    def make(*scopes: str, days: float = 1, per_minute: int = 10_000) -> str:
        return Tokens(registry.engine).create(
            "test", [Scope(s) for s in scopes], timedelta(days=days), per_minute, utc_now()
        )

    return make


@pytest.fixture(scope="module")
def hasty(served: ServedModel) -> Iterator[Running]:
    """A gateway that gives slow clients two seconds."""
    service = QueryService(FolderSource(Path(), load=lambda folder: served))
    with running(service, header_seconds=2.0, body_seconds=2.0) as found:
        yield found


@pytest.fixture
def start() -> Callable[[QueryService], AbstractContextManager[Running]]:
    """Starts a gateway of any service."""
    return running
