"""What the relay and the ServerApp lean on inside Flower: where a new version is read first."""

from __future__ import annotations

import inspect
import time
from importlib.metadata import version
from unittest.mock import Mock

import pytest
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable import inflatable_utils
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode import start_client_internal
from flwr.supernode.runtime import run_clientapp

from groundswell.client import warm_relay
from groundswell.client.warm_relay import PromptTime
from groundswell.shared.flower_version import FLOWER_VERSION, fits


def test_the_installed_flower_is_the_one_that_is_known() -> None:
    assert version("flwr") == FLOWER_VERSION
    assert fits()


def test_the_supernode_sleeps_through_its_global_time() -> None:
    assert vars(start_client_internal)["time"] is time
    source = inspect.getsource(start_client_internal)
    used = {line.strip() for line in source.splitlines() if "time." in line and "#" not in line}
    assert {line for line in used if line.startswith("time.")} == {
        "time.sleep(3)",
        "time.sleep(0.5)",
    }


def test_a_reply_whose_relay_was_killed_costs_the_supernode_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]

    def wait(seconds: float) -> None:
        now[0] += seconds

    prompt = PromptTime(wait, lambda: now[0])
    names = vars(start_client_internal)
    monkeypatch.setitem(names, "time", prompt)
    monkeypatch.setitem(
        names, warm_relay.PUSH, warm_relay.giving_up(names[warm_relay.PUSH], prompt)
    )
    reply, state, store, pushed = Mock(), Mock(), Mock(), Mock()
    state.get_messages_legacy.return_value = [reply]
    store.get_object_tree.return_value = ObjectTree(object_id="announced")
    store.get.return_value = b""  # and never handed over
    names["_push_messages"](state, store, lambda *_: ({"announced"}, "session"), pushed)
    assert 30 < now[0] < 32
    pushed.assert_not_called()
    state.delete_messages.assert_called_once()
    store.delete.assert_called_once_with(reply.metadata.message_id)


@pytest.mark.parametrize("name", ["pull_objects", "pull_and_inflate_object_from_tree"])
def test_object_pulls_have_their_waits_as_keyword_defaults(name: str) -> None:
    defaults = vars(inflatable_utils)[name].__kwdefaults__
    assert {"initial_backoff", "backoff_cap", "max_tries_per_object"} <= set(defaults)


def test_the_stock_worker_has_the_three_steps_that_the_warm_one_calls() -> None:
    def parameters(name: str) -> list[str]:
        return list(inspect.signature(vars(run_clientapp)[name]).parameters)

    assert parameters("pull_task_input") == ["client"]
    assert parameters("push_message") == ["client", "message", "context"]
    assert parameters("push_task_output") == ["client", "context", "sub_status", "details"]


@pytest.mark.parametrize("name", ["AcquireTask", "SendTaskHeartbeat", "from_server_address"])
def test_the_runtime_client_has_the_calls(name: str) -> None:
    assert any(name in vars(base) for base in RuntimeHttpClient.__mro__)


def test_the_module_does_not_change_flower_when_it_is_imported() -> None:
    assert vars(inflatable_utils)["pull_objects"].__kwdefaults__["initial_backoff"] == 1


def test_an_exception_of_the_app_leaves_no_text_in_the_reply(
    flower_message: tuple[Message, Context],
) -> None:
    app = ClientApp()

    @app.query("vault")
    def broken(message: Message, context: Context) -> Message:
        raise ValueError("the secret is 42")

    message, context = flower_message
    reply = vars(warm_relay)["_run"](app, message, context)
    assert reply.has_error()
    assert "42" not in reply.error.reason
    assert "ValueError" not in reply.error.reason
