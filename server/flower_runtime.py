"""The ServerApp's side of Flower with the waiting taken out; all that leans on its internals here.

Stock Flower 1.41 looks for replies every 3 s, and waits a second and more for an object that is
announced but not yet there. ``PromptGrid`` uses public methods of ``Grid`` alone; the one internal
is a pair of keyword defaults, set where they exist with the values that are known, and else left
alone: slower, and as correct.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.inflatable import inflatable_utils
from flwr.supercore.run import Run

from groundswell.shared.flower_version import fits

_FASTEST = 0.05
_SLOWEST = 2.0
# A wait costs at most this share of what was waited for.
_SHARE = 0.05


class PromptGrid(Grid):
    """Another grid with a ``send_and_receive`` that looks for replies soon, then less often.

    Args:
        grid: Flower's own; everything else is its.
        clock, sleep: seconds, monotonic; replaced in tests.
    """

    def __init__(
        self,
        grid: Grid,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._grid = grid
        self._clock = clock
        self._sleep = sleep

    def set_run(self, run: Run) -> None:
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        return self._grid.run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        # Flower's own create_message warns that it is deprecated in favour of this constructor.
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        return self._grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self._grid.pull_messages(message_ids)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Replies in the order of arrival; after ``timeout`` seconds those that are there."""
        # A message that could not be stored has no id; it has no reply either.
        waiting = {message_id for message_id in self._grid.push_messages(messages) if message_id}
        started = self._clock()
        replies: list[Message] = []
        while waiting:
            arrived = list(self._grid.pull_messages(waiting))
            replies += arrived
            waiting -= {message.metadata.reply_to_message_id for message in arrived}
            waited = self._clock() - started
            if timeout is not None and waited >= timeout:
                break
            if waiting:
                self._sleep(min(max(waited * _SHARE, _FASTEST), _SLOWEST))
        return replies


def shorten_object_pulls() -> bool:
    """Ask again soon for an object that is announced and not yet there.

    The number of tries rises with it, so that the longest wait stays what it was. Returns whether
    the installed Flower is the one whose internals are known; else nothing is changed.
    """
    if not fits():
        return False
    for name in ("pull_objects", "pull_and_inflate_object_from_tree"):
        defaults = vars(inflatable_utils)[name].__kwdefaults__
        defaults.update(initial_backoff=0.02, backoff_cap=0.5, max_tries_per_object=20_000)
    return True


def prompt(grid: Grid) -> Grid:
    """The grid that a deployed ServerApp uses, made from the one that Flower hands it."""
    shorten_object_pulls()
    return PromptGrid(grid)
