"""The vault's process: opens everything that a site's folder holds, and serves the two sockets.

Runs without any network: no address is opened and none is connected to.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import torch

from groundswell.client import enrolment
from groundswell.client.contributions import SiteData
from groundswell.client.ledger import Ledger
from groundswell.client.local_server import NO_MODEL, local_handlers
from groundswell.client.scorer import Scorer
from groundswell.client.site import Site
from groundswell.client.sockets import listen
from groundswell.client.vault import Identity, Vault
from groundswell.client.vault_server import serve_relay
from groundswell.client.vault_telemetry import VaultTelemetry
from groundswell.shared import armour
from groundswell.shared.backbone import Backbone, encode_catalogue, load_backbone
from groundswell.shared.backbone_name import DEFAULT
from groundswell.shared.envelopes import parse
from groundswell.shared.errors import GroundswellError, Refusal
from groundswell.shared.identity import SigningKey
from groundswell.shared.logs import configure_logging
from groundswell.shared.plan import Plan
from groundswell.shared.served import serve_folder
from groundswell.shared.spec import ModelSpec
from groundswell.shared.wire import groundswell_pb2 as wire

log = logging.getLogger(__name__)

_METRICS_SECONDS = 5.0
_STOP_SECONDS = 5.0
_SET_MODEL = "`groundswell site model MODEL DIR` sets a model of the site's catalogue"


class DeployedVault(Vault):
    """A vault that keeps the plans it was sent, and counts what it answers.

    Args:
        site: the folder.
        identity, ledger, data, clock: as for ``Vault``.
    """

    def __init__(
        self,
        site: Site,
        identity: Identity,
        ledger: Ledger,
        data: SiteData,
        clock: Callable[[], float] = time.time,
    ) -> None:
        policy = site.policy()
        super().__init__(identity, policy, ledger, data, clock=clock)
        self._plans = site.folder / "plans"
        self.telemetry = VaultTelemetry(site.metrics_file, ledger, policy)

    def handle(self, data: bytes) -> bytes:
        """As ``Vault.handle``."""
        started = time.monotonic()
        reply = super().handle(data)
        answer = parse(wire.VaultReply, reply)
        code = answer.refused.code if answer.WhichOneof("reply") == "refused" else ""
        request = wire.VaultRequest() if code == "malformed" else parse(wire.VaultRequest, data)
        kind = request.WhichOneof("request") or "unknown"
        if kind == "join" and code != "bad-plan-signature":
            self._keep_plan(request.join.plan, code)
        seconds = time.monotonic() - started
        self.telemetry.answered(kind, code, len(data), len(reply), seconds)
        log.info("%s %s in %.2f s", kind, code or "answered", seconds)
        return reply

    def _keep_plan(self, data: bytes, code: str) -> None:
        """So that the operator can look at a plan, also at one that was refused."""
        if code in ("malformed-plan", "malformed"):
            return
        name = Plan.parse(data).hash().hex()
        path = self._plans / f"{name}.json"
        if not path.exists():
            path.write_bytes(data)


def site_backbone(site: Site) -> Backbone:
    """The site's language model: its folder, or the packaged one."""
    return load_backbone(site.settings.backbone or DEFAULT)


def open_vault(site: Site, clock: Callable[[], float] = time.time) -> tuple[DeployedVault, Ledger]:
    """Assemble the vault from the folder.

    Args:
        clock: Unix seconds.

    Raises:
        InputError: a part is missing; the message says which command makes it.
        LedgerError: the ledger is damaged or gone.
    """
    key = SigningKey.read(site.keys / enrolment.KEY_FILE)
    certificate = armour.read_signed(site.keys / enrolment.CERTIFICATE_FILE, armour.CERTIFICATE)
    catalogue, backbone = site.catalogue(), site_backbone(site)
    # Texts are encoded once, before the first plan comes: how long it takes depends on what users
    # typed, and the time of an answer may not.
    layers = ModelSpec.from_dict(site.proposal().model).layers
    prepared = site.store().load()
    data = SiteData(
        prepared,
        catalogue,
        backbone,
        encode_catalogue(backbone, catalogue, layers),
        backbone.encode(prepared.texts, layers),
    )
    ledger = Ledger.open(site.ledger_file, key, site.policy(), clock=clock)
    identity = Identity(key, certificate, site.trust)
    return DeployedVault(site, identity, ledger, data, clock), ledger


def serve_local(site: Site) -> grpc.Server:
    """Answer the shop's own callers with the site's model, on the local socket.

    Where the model can't be used, the callers are told so: training goes on without it.

    Raises:
        InputError: the socket can't be made.
    """
    scorer = _scorer(site)
    if isinstance(scorer, Refusal):
        log.error("the shop's own callers get no answers: %s", scorer)
    group = site.settings.callers_group or None
    return listen(site.local_socket, local_handlers(scorer), group=group, workers=4)


def _scorer(site: Site) -> Scorer | Refusal:
    if not site.model_folder.exists():
        return Refusal(NO_MODEL, f"the site has no model yet; {_SET_MODEL}")
    try:
        served = serve_folder(site.model_folder)
        return Scorer(served, site.store().load(), site.catalogue().hash)
    except GroundswellError as error:
        return Refusal(NO_MODEL, f"the site's model can't be used: {error}; {_SET_MODEL}")
    except Exception:  # house: whatever is wrong with a model, the site goes on training
        log.exception("loading the site's model failed")
        reason = "the site's model can't be loaded, the vault's log says why"
        return Refusal(NO_MODEL, f"{reason}; {_SET_MODEL}")


def main(arguments: list[str]) -> int:
    """``DIR``: serve until ended; returns the exit code."""
    (folder,) = arguments
    configure_logging("vault")
    # One thread: rounds of several sites on one machine don't fight for its cores, and the time of
    # a reply is the plan's, not the machine's.
    torch.set_num_threads(1)
    site = Site.open(Path(folder))
    try:
        vault, ledger = open_vault(site)
    except GroundswellError as error:
        log.error("the vault can't open: %s", error)
        return 1
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    group = site.settings.relay_user or None
    servers = [serve_relay(vault, site.relay_socket, group), serve_local(site)]
    log.info("%s serves", vault.name)
    while not stop.wait(_METRICS_SECONDS):
        vault.telemetry.write()
    for server in servers:
        server.stop(_STOP_SECONDS).wait()
    ledger.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
