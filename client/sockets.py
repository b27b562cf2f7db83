"""Unix sockets that only one group may open: mode 0660, in a folder of their own of mode 0750."""

from __future__ import annotations

import grp
import os
from collections.abc import Callable
from concurrent import futures
from pathlib import Path

import grpc

from groundswell.client.relay import MAX_MESSAGE_BYTES
from groundswell.shared.errors import InputError

_FOLDER_MODE = 0o750
_FORBIDDEN = 0o117  # umask: no execution, nothing for others
# The kernel's limit on the path of a Unix socket, its final zero included.
_LONGEST_PATH = 107


def listen(
    socket: Path, handlers: Callable[[grpc.Server], None], *, group: str | None, workers: int
) -> grpc.Server:
    """Start a gRPC server on a Unix socket that the group's members can open, and nobody else.

    Args:
        socket: path of the socket; its folder is made if need be.
        handlers: registers the services.
        group: name of the group; None leaves the process's own.
        workers: threads that serve requests.

    Raises:
        InputError: the path is too long, the group is unknown, or the socket can't be made.
    """
    if len(os.fsencode(socket)) > _LONGEST_PATH:
        raise InputError(
            "socket", str(socket), f"is longer than {_LONGEST_PATH} bytes", "use a shorter folder"
        )
    server = grpc.server(
        futures.ThreadPoolExecutor(workers),
        options=[
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ],
    )
    handlers(server)
    folder = socket.parent
    folder.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
    folder.chmod(_FOLDER_MODE)
    socket.unlink(missing_ok=True)
    before = os.umask(_FORBIDDEN)
    try:
        server.add_insecure_port(f"unix:{socket}")
    except RuntimeError as error:
        raise InputError("socket", str(socket), "can't be opened", "check the folder") from error
    finally:
        os.umask(before)
    if group is not None:
        number = _group_number(group)
        os.chown(folder, -1, number)
        os.chown(socket, -1, number)
    server.start()
    return server


def _group_number(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise InputError(
            "group", group, "there is no such group", "make it, or name another"
        ) from None
