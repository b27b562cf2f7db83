"""Carries requests to the sites and their replies back, over any Flower ``Grid``.

Flower knows node ids; the protocol knows the names in certificates. A node's name is learnt from
its signed answer to the plan, and from nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid
from google.protobuf.message import DecodeError

from groundswell.shared.envelopes import open_signed, parse
from groundswell.shared.errors import Refusal
from groundswell.shared.identity import Certificate, Trust
from groundswell.shared.plan import Plan
from groundswell.shared.roster import terms_of
from groundswell.shared.wire import groundswell_pb2 as wire

NOT_JOINED = "not-joined"

log = logging.getLogger(__name__)


class GridTransport:
    """One run's way to its sites.

    Args:
        grid: Flower's, or the in-process one.
        trust: the pinned public keys.
        plan: of the run.
        timeout: seconds that one phase may take; who answers later has dropped out of it.

    Attributes:
        refusals: code of the last refusal of each node that did not join, by node id.
        bytes: payload bytes sent and received so far.
    """

    def __init__(self, grid: Grid, trust: Trust, plan: Plan, timeout: float) -> None:
        self._grid = grid
        self._trust = trust
        self._plan = plan
        self._terms = terms_of(plan)
        self._timeout = timeout
        self._nodes: dict[str, int] = {}
        self._keys: dict[str, bytes] = {}
        self._catalogues: dict[str, int] = {}
        self.refusals: dict[int, str] = {}
        self.bytes = 0

    @property
    def sites(self) -> tuple[str, ...]:
        """Sites that have accepted the plan and whose node is connected."""
        connected = set(self._grid.get_node_ids())
        return tuple(sorted(name for name, node in self._nodes.items() if node in connected))

    def public_key(self, site: str) -> bytes | None:
        """The key in the certificate that a site joined with."""
        return self._keys.get(site)

    def catalogue_number(self, site: str) -> int:
        """The place of a site's catalogue among the plan's; KeyError where it has not joined."""
        return self._catalogues[site]

    def join(self, request: wire.JoinRequest, now: int) -> tuple[str, ...]:
        """Hand the plan to every connected node that has not accepted it yet; returns the sites."""
        waiting = set(self._grid.get_node_ids()) - set(self._nodes.values())
        asked = {node: wire.VaultRequest(join=request) for node in sorted(waiting)}
        for node, reply in self._send(asked).items():
            if reply.WhichOneof("reply") == "refused":
                self.refusals[node] = reply.refused.code
                continue
            try:
                certificate, number = self._joined(reply.joined, now)
                self._nodes[certificate.name] = node
                self._keys[certificate.name] = certificate.public_key
                self._catalogues[certificate.name] = number
                self.refusals.pop(node, None)
            except Refusal as error:
                self.refusals[node] = error.code
        return self.sites

    def exchange(self, requests: Mapping[str, wire.VaultRequest]) -> dict[str, wire.VaultReply]:
        """Replies by site; a site that is gone, silent or unreadable is absent."""
        names = {self._nodes[name]: name for name in requests if name in self._nodes}
        connected = set(self._grid.get_node_ids())
        asked = {node: requests[name] for node, name in names.items() if node in connected}
        replies = {names[node]: reply for node, reply in self._send(asked).items()}
        for site, reply in replies.items():
            if reply.WhichOneof("reply") == "refused" and reply.refused.code == NOT_JOINED:
                # Its vault was started anew: it gets the plan again before the next attempt.
                del self._nodes[site]
        return replies

    def _joined(self, signed: wire.Signed, now: int) -> tuple[Certificate, int]:
        """Who joined, and the place of the site's catalogue among the plan's."""
        claimed = parse(wire.Joined, signed.body)
        certificate = self._trust.certificate(claimed.certificate, now)
        body = open_signed(signed, wire.Joined, certificate.public_key)
        if (body.run, body.plan_hash) != (self._terms.run, self._terms.plan_hash):
            raise Refusal("wrong-run", "the site joined another run or plan")
        number = self._plan.catalogue_number(body.catalogue.hex())
        if number is None:
            raise Refusal("unknown-catalogue", "the site works with a catalogue of no plan's")
        if self._catalogues.get(certificate.name, number) != number:
            raise Refusal("catalogue-changed", "the site joined this run with another catalogue")
        return certificate, number

    def _send(self, requests: Mapping[int, wire.VaultRequest]) -> dict[int, wire.VaultReply]:
        if not requests:
            return {}
        messages = []
        # Most requests of a phase are equal: one serialisation serves all that are.
        serialised: dict[int, bytes] = {}
        for node, request in requests.items():
            data = serialised.setdefault(id(request), request.SerializeToString())
            self.bytes += len(data)
            record = RecordDict({"vault": ConfigRecord({"request": data})})
            messages.append(
                self._grid.create_message(record, f"{MessageType.QUERY}.vault", node, "")
            )
        replies = {}
        for message in self._grid.send_and_receive(messages, timeout=self._timeout):
            node = message.metadata.src_node_id
            reply = self._read(message, node)
            if reply is not None:
                replies[node] = reply
        return replies

    def _read(self, message: Message, node: int) -> wire.VaultReply | None:
        if message.has_error():
            # The text is the node's own and untrusted: only Flower's code is kept.
            log.warning("node %d: Flower error %d", node, message.error.code)
            return None
        record = message.content.config_records.get("vault", ConfigRecord())
        data = record.get("reply")
        if not isinstance(data, bytes):
            log.warning("node %d: %s", node, record.get("code", "no-reply"))
            return None
        self.bytes += len(data)
        try:
            reply = wire.VaultReply()
            reply.ParseFromString(data)
        except DecodeError:
            log.warning("node %d: unreadable reply", node)
            return None
        return reply
