"""The same federation on Flower's Ray engine: each site's vault is a named Ray actor.

Flower's own Ray actors serve any node, so a site's state can't live in them. The relay is the same
one with another connector, which finds the site's actor by the node's partition number.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import ray
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

from groundswell.client.ledger import Ledger
from groundswell.client.relay import app
from groundswell.client.vault import Vault
from groundswell.server.rounds import Report, Run, Watch
from groundswell.shared.backbone import load_backbone
from groundswell.shared.errors import GroundswellError
from groundswell.shared.plan import Plan
from groundswell.simulation.federated import (
    NOTHING_MORE,
    Federated,
    Participants,
    make_run,
    recipes,
)
from groundswell.simulation.vaults import Agreed, VaultRecipe

_NAMESPACE = "groundswell"
# The vaults do the computing, and ask for no CPU of Ray: one relay a core passes on what they say.
_RELAY_CPUS = 1


class SiteActor:
    """A site's vault in a process of its own."""

    def __init__(self, recipe: VaultRecipe, backbone: str) -> None:
        self._ledger: Ledger = recipe.ledger()
        data = recipe.data(load_backbone(backbone))
        self._vault: Vault = recipe.vault(self._ledger, data)

    def handle(self, request: bytes) -> bytes:
        """One request, one reply."""
        return self._vault.handle(request)

    def highest_seq(self) -> int:
        """The highest attempt that the site's ledger has seen."""
        return self._ledger.highest_seq

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()


def ray_connector(node_config: tuple[tuple[str, str], ...]) -> Callable[[bytes], bytes]:
    """The relay's connector for this engine: the vault actor of the node's partition."""
    actor = ray.get_actor(_actor_name(int(dict(node_config)["partition-id"])), _NAMESPACE)
    return lambda request: bytes(ray.get(actor.handle.remote(request)))


@contextmanager
def vault_actors(found: dict[str, VaultRecipe], backbone: str) -> Iterator[int]:
    """Start a vault actor for each site; yields the first free attempt number."""
    remote: Any = ray.remote(num_cpus=0)(SiteActor)
    actors: list[Any] = [
        remote.options(name=_actor_name(number), namespace=_NAMESPACE).remote(recipe, backbone)
        for number, recipe in enumerate(found.values())
    ]
    try:
        yield 1 + max(ray.get([actor.highest_seq.remote() for actor in actors]))
    finally:
        if ray.is_initialized():
            ray.get([actor.close.remote() for actor in actors])
            for actor in actors:
                ray.kill(actor)


@contextmanager
def run_on_ray(
    sites: Participants,
    plan: Plan,
    folder: Path,
    *,
    seed: int,
    noisy: bool = True,
    resume: bool = False,
    watch: Watch | None = None,
    agreed: Agreed = NOTHING_MORE,
) -> Iterator[Federated]:
    """Run a federation on Flower's Ray engine, and end everything that was started for it."""
    found = recipes(sites, plan, folder, seed=seed, noisy=noisy, agreed=agreed)
    consortium = next(iter(found.values())).consortium()
    ended: list[tuple[Report, Run]] = []
    server = ServerApp()

    ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    try:
        with vault_actors(found, sites.backbone.name) as first_seq:

            @server.main()
            def main(grid: Grid, context: Context) -> None:
                run = make_run(
                    sites,
                    plan,
                    folder,
                    grid,
                    consortium,
                    first_seq=first_seq,
                    resume=resume,
                    watch=watch,
                )
                ended.append((run.go(), run))
                # Flower ends Ray with the run; the ledgers are closed before that.
                for number in range(len(found)):
                    ray.get(ray.get_actor(_actor_name(number), _NAMESPACE).close.remote())

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                run_simulation(
                    server,
                    app,
                    num_supernodes=len(found),
                    backend_config={"client_resources": {"num_cpus": _RELAY_CPUS}},
                )
    finally:
        ray.shutdown()
    if not ended:
        raise GroundswellError("the Ray engine ended before the run did; see its log")
    report, run = ended[0]
    with ExitStack() as stack:
        ledgers = {name: recipe.ledger() for name, recipe in found.items()}
        for ledger in ledgers.values():
            stack.callback(ledger.close)
        yield Federated(plan, report, run.state, ledgers)


def _actor_name(partition: int) -> str:
    return f"vault-{partition}"
