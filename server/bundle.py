"""The Flower bundle of a deployment: it names installed modules and carries no code.

Flower hands the bundle to every SuperNode. With nothing in it, nothing of the server's runs at a
site even where the stock ClientApp process is in use.
"""

from __future__ import annotations

from pathlib import Path

SERVER_APP = "groundswell.server.app:app"
CLIENT_APP = "groundswell.client.relay:app"

_PROJECT = """\
# The Flower bundle of a deployment. Its components are modules of the installed package, and it
# holds no code: a file that is named neither here nor by Flower stays out.
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "groundswell-federation"
version = "1.0.0"
description = "Private federated forecasting: names installed modules, holds no code"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "groundswell"
fab-include = ["README.md"]

[tool.flwr.app.components]
serverapp = "{server_app}"
clientapp = "{client_app}"

[tool.flwr.app.config]
{configuration}"""

_README = """\
# Groundswell federation

This bundle holds no code. The server and the sites run what their operators installed.
"""


def write_bundle(
    folder: Path,
    configuration: dict[str, str] | None = None,
    server_app: str = SERVER_APP,
    client_app: str = CLIENT_APP,
) -> Path:
    """Write the bundle's two files into ``folder``, and nothing else; returns ``folder``.

    Args:
        configuration: run configuration keys and their defaults; values hold no quotes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    keys = configuration if configuration is not None else {"folder": ""}
    (folder / "pyproject.toml").write_text(
        _PROJECT.format(
            server_app=server_app,
            client_app=client_app,
            configuration="".join(f'{key} = "{value}"\n' for key, value in keys.items()),
        )
    )
    (folder / "README.md").write_text(_README)
    return folder
