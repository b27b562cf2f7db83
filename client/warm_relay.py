"""The relay's two Flower processes with the waiting taken out; all that leans on Flower internals.

Stock Flower 1.41 starts a new process for every message and sleeps for seconds between polls: a
message phase takes about six seconds. Here one warm process answers all messages, and both
processes poll at a pace that follows how long nothing has happened. The worker runs the *installed*
relay and leaves the app that a server sends unread, which the stock way does not.

Leaned on, and held by ``tests/contracts/test_flower_internals.py``:

- ``flwr.supernode.start_client_internal`` sleeps through its global ``time``, and sends a reply by
  its global ``push_object_contents_from_iterable``, whose failure costs that reply alone;
- ``pull_objects`` and ``pull_and_inflate_object_from_tree`` have keyword defaults for their waits;
- ``flwr.supernode.runtime.run_clientapp`` has ``pull_task_input``, ``push_message`` and
  ``push_task_output``;
- the Runtime API has ``AcquireTask`` and ``SendTaskHeartbeat``.

Where ``flower_version.fits`` says that the installed Flower is another one, the supervisor starts
the stock programs instead: slower, and as safe, since the relay's user owns nothing worth reading.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import httpx
from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode, SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest, SendTaskHeartbeatRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.inflatable import inflatable_utils
from flwr.supercore.inflatable.inflatable_utils import ObjectPullError
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime import run_clientapp

_ACQUIRE = "/flwr.proto.Runtime/AcquireTask"
# Flower gives a task up after 60 s without a heartbeat.
_HEARTBEAT_SECONDS = 15.0
_UNREACHABLE_SECONDS = 1.0
_TIMEOUT_SECONDS = 60.0
# From a reply's announcement to its next object; both processes are on one machine.
_OBJECT_SECONDS = 30.0

PUSH = "push_object_contents_from_iterable"

Contents = Iterable[tuple[str, bytes]]

log = logging.getLogger(__name__)


class Pace:
    """How long to wait before the next look: a share of the time that nothing has happened.

    A wait then costs at most that share of what was waited for, and an idle site asks rarely.

    Args:
        fastest, slowest: bounds of one wait, seconds.
        share: of the idle time so far.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        fastest: float,
        slowest: float,
        share: float = 0.05,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fastest = fastest
        self._slowest = slowest
        self._share = share
        self._clock = clock
        self._since = clock()

    def restart(self) -> None:
        """Something happened."""
        self._since = self._clock()

    def wait(self) -> float:
        """Seconds to wait now."""
        idle = (self._clock() - self._since) * self._share
        return min(max(idle, self._fastest), self._slowest)


class PromptTime:
    """Stands for the module ``time`` in Flower's main loop, which sleeps 3 s when idle and 0.5 s
    while it waits for the reply; another length of sleep than the last means that something
    happened."""

    def __init__(
        self,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sleep = sleep
        self._clock = clock
        self._paces: dict[float, Pace] = {}
        self._last = 0.0
        self._until = math.inf

    @contextmanager
    def at_most(self, seconds: float) -> Iterator[None]:
        """Sleeping on beyond this time raises ``TimeoutError`` within the block."""
        self._until = self._clock() + seconds
        try:
            yield
        finally:
            self._until = math.inf

    def sleep(self, seconds: float) -> None:
        """Sleep at most ``seconds``."""
        if self._clock() > self._until:
            raise TimeoutError("the relay announced a reply and did not hand it over")
        pace = self._paces.setdefault(seconds, Pace(0.05, seconds))
        if seconds != self._last:
            pace.restart()
            self._last = seconds
        self._sleep(pace.wait())


def shorten_supernode_polls() -> None:
    """Let this process's SuperNode look for messages and replies at a pace of its own."""
    # Imported here: the worker's process needs no server, and stays small without it.
    from flwr.supernode import start_client_internal

    prompt = PromptTime()
    names = vars(start_client_internal)
    names["time"] = prompt
    names[PUSH] = giving_up(names[PUSH], prompt)
    shorten_object_pulls(inflatable_utils)


def giving_up(push: Callable[..., None], prompt: PromptTime) -> Callable[..., None]:
    """``push`` that raises ``TimeoutError`` where the reply's next object does not come.

    A relay that is killed between announcing a reply and handing it over leaves the stock SuperNode
    waiting for it for ever, and the site out of all further rounds.
    """

    def within(contents: Contents) -> Contents:
        rest = iter(contents)
        while True:
            with prompt.at_most(_OBJECT_SECONDS):
                found = next(rest, None)
            if found is None:
                return
            yield found

    def push_within(contents: Contents, push_object_fn: Callable[[str, bytes], None]) -> None:
        push(within(contents), push_object_fn=push_object_fn)

    return push_within


def shorten_object_pulls(module: ModuleType) -> None:
    """Ask again soon for an object that the other side has announced and not yet sent.

    The number of tries rises with it, so that the longest wait stays what it was.
    """
    for name in ("pull_objects", "pull_and_inflate_object_from_tree"):
        defaults = vars(module)[name].__kwdefaults__
        defaults.update(initial_backoff=0.02, backoff_cap=0.5, max_tries_per_object=20_000)


@dataclass(frozen=True)
class Worker:
    """Answers a SuperNode's messages with one app, in this process.

    Attributes:
        address: of the SuperNode's Runtime API, loopback.
        secret: shared with the SuperNode; without it nobody on the machine can take its tasks.
        app: the installed one.
        stop: set to end ``serve``.
    """

    address: str
    secret: bytes | None
    app: ClientApp
    stop: threading.Event

    def __repr__(self) -> str:
        return f"Worker({self.address})"

    def serve(self) -> None:
        """Answer until ``stop`` is set; a SuperNode that is away is waited for."""
        shorten_object_pulls(inflatable_utils)
        client = self._client(self._superexec())
        request = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
        pace = Pace(0.02, 1.0)
        while not self.stop.is_set():
            try:
                response = client.AcquireTask(request)
                if not response.token:
                    self.stop.wait(pace.wait())
                    continue
                self.answer(response.token)
                pace.restart()
            except (httpx.HTTPError, ObjectPullError, RuntimeError) as error:
                # The task is lost with the SuperNode that held it; the coordinator asks again.
                log.warning("the SuperNode did not go along: %s", type(error).__name__)
                self.stop.wait(_UNREACHABLE_SECONDS)

    def answer(self, token: str) -> None:
        """One task, from its input to its output."""
        client = self._client([RuntimeTokenHttpInterceptor(token)])
        try:
            with _heartbeats(client):
                message, context, _, _ = run_clientapp.pull_task_input(client)
                reply = _run(self.app, message, context)
                run_clientapp.push_message(client, reply, context)
                run_clientapp.push_task_output(client, context, SubStatus.COMPLETED, "")
        finally:
            client.close()

    def _client(self, interceptors: list[ProtobufClientInterceptor]) -> RuntimeHttpClient:
        # Without a retry invoker: Flower's raises SIGINT in this process on a stale token.
        return RuntimeHttpClient.from_server_address(
            server_address=self.address,
            insecure=True,
            root_certificates=None,
            interceptors=[RuntimeVersionHttpInterceptor("flwr-clientapp"), *interceptors],
        )

    def _superexec(self) -> list[ProtobufClientInterceptor]:
        if self.secret is None:
            return []
        return [
            SuperExecAuthHttpInterceptor(master_secret=self.secret, protected_methods={_ACQUIRE})
        ]


def _run(app: ClientApp, message: Message, context: Context) -> Message:
    """The app's reply; of an exception nothing but its kind goes on, and that into our own log."""
    try:
        return app(message=message, context=context)
    except Exception as error:  # house: the last wall; stock Flower sends the text to the server
        log.error("the relay failed: %s", type(error).__name__)
        failed = Error(code=ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason="relay-failed")
        return Message(failed, reply_to=message)


@contextmanager
def _heartbeats(client: RuntimeHttpClient) -> Iterator[None]:
    """Tell the SuperNode every now and then that the task is still in work."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(_HEARTBEAT_SECONDS):
            try:
                client.SendTaskHeartbeat(SendTaskHeartbeatRequest())
            except httpx.HTTPError as error:
                log.warning("no heartbeat: %s", type(error).__name__)

    thread = threading.Thread(target=beat, name="heartbeats", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(_TIMEOUT_SECONDS)


def main(arguments: list[str]) -> None:
    """``supernode OPTIONS...`` with Flower's own options, or ``worker ADDRESS SECRET_FILE``."""
    role, *rest = arguments
    if role == "supernode":
        from flwr.supernode.cli import flower_supernode

        shorten_supernode_polls()
        sys.argv = ["flower-supernode", *rest]
        flower_supernode()
    elif role == "worker":
        from groundswell.client.relay import app

        address, secret = rest
        Worker(address, Path(secret).read_bytes(), app, threading.Event()).serve()
    else:
        raise SystemExit(f"unknown role {role!r}: supernode or worker")


if __name__ == "__main__":
    main(sys.argv[1:])
