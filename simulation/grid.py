"""A Flower ``Grid`` that runs the relay's ClientApp in this process, one virtual node a site.

The strategy, the relay and the vault are those of a deployment; only the wire between them is a
function call. ``facts`` about Flower 1.41 that this leans on stand beside each line.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from groundswell.client.relay import connector

Connector = Callable[[bytes], bytes]

_CONNECTORS: dict[str, Connector] = {}


def inprocess_connector(node_config: tuple[tuple[str, str], ...]) -> Connector:
    """The relay's connector for this engine: the vault of the virtual node, by its key."""
    return _CONNECTORS[dict(node_config)["vault"]]


class InProcessGrid(Grid):
    """Delivers each message by calling the ClientApp at once, in node order.

    Args:
        app: the ClientApp, the relay's own.
        vaults: each site's entry point, bytes to bytes, by site name.
    """

    def __init__(self, app: ClientApp, vaults: Mapping[str, Connector]) -> None:
        # Message() refuses to be made outside of a task; in process there is one task, ours.
        TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
        self._app = app
        self._run = Run.create_empty(1)
        self._replies: dict[str, Message] = {}
        self._vaults = vaults
        self._names = tuple(vaults)
        self._id = uuid.uuid4().hex
        # A node is made when it is first spoken to: with thousands of them few ever are.
        self._contexts: dict[int, Context] = {}

    def _context(self, node_id: int) -> Context:
        found = self._contexts.get(node_id)
        if found is None:
            if not 0 < node_id <= len(self._names):
                raise KeyError(node_id)
            name = self._names[node_id - 1]
            key = f"{name}-{self._id}"
            _CONNECTORS[key] = self._vaults[name]
            found = self._contexts[node_id] = Context(
                run_id=1,
                node_id=node_id,
                node_config={"connector": "inprocess", "vault": key},
                state=RecordDict(),
                run_config={},
            )
        return found

    def close(self) -> None:
        """Forget the vaults; the grid delivers nothing afterwards."""
        for context in self._contexts.values():
            _CONNECTORS.pop(str(context.node_config["vault"]), None)
        # The relay keeps what it once connected to; nothing else would let the vaults go.
        connector.cache_clear()
        self._contexts.clear()
        self._names = ()

    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        return range(1, len(self._names) + 1)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        ids = []
        for message in messages:
            message_id = uuid.uuid4().hex
            # Flower sets the id when a message is stored at the SuperLink; a reply needs one.
            message.metadata.__dict__["_message_id"] = message_id
            context = self._context(message.metadata.dst_node_id)
            self._replies[message_id] = self._app(message=message, context=context)
            ids.append(message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._replies.pop(key) for key in message_ids if key in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Deliver in order; what would be sent after ``timeout`` seconds is dropped."""
        end = None if timeout is None else time.monotonic() + timeout
        replies: list[Message] = []
        for message in messages:
            if end is not None and time.monotonic() > end:
                break
            replies.extend(self.pull_messages(self.push_messages([message])))
        return replies
