"""The ``groundswell`` command: mounts each part's commands, and imports a part when it is used.

Exit codes: 0 done, 1 failed, 2 wrong use or bad input (one line on standard error: key, value,
rule, remedy), 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click
import typer
import typer.core
import typer.main

from groundswell.shared.errors import GroundswellError, InputError

# No telemetry, no look-ups at start, no installs at run time, no model hub: a user who wants one of
# them sets the variable; it is set before any library reads it.
for _name, _value in {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "HF_HUB_OFFLINE": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}.items():
    os.environ.setdefault(_name, _value)

# name -> (module, typer application in it, command within the application or "", one line of help)
COMMANDS: dict[str, tuple[str, str, str, str]] = {
    "simulate": ("simulation.cli", "app", "simulate", "Run a whole federation on this machine."),
    "evaluate": ("simulation.cli", "app", "evaluate", "Rolling-origin cross-validation."),
    "init": ("client.data_cli", "app", "init", "Guess columns, write groundswell.toml."),
    "check": ("client.data_cli", "app", "check", "Say what is wrong with the data."),
    "predict": ("predict_cli", "app", "predict", "Score a file of events in batch."),
    "privacy": ("client.privacy_cli", "app", "", "Plan a privacy budget before spending it."),
    "ledger": ("client.ledger_cli", "app", "", "Show and verify what was released and its cost."),
    "demo": ("simulation.demo_cli", "app", "", "A real federation on this machine: up, down."),
    "coordinator": ("server.coordinator_cli", "app", "", "The coordinator of a federation."),
    "site": ("client.site_cli", "app", "", "A data site of a federation."),
    "ca": ("server.ca_cli", "app", "", "The consortium's certificates."),
    "serve": ("server.serve_cli", "app", "serve", "Answer questions to a model; dashboard."),
    "model": ("server.model_cli", "app", "", "Model versions: list, promote, roll back, export."),
    "token": ("server.token_cli", "app", "", "API tokens of the gateway."),
    "query": ("query_cli", "app", "", "Ask a gateway: predict, recommend, explain, trends."),
    "audit": ("simulation.audit_cli", "app", "audit", "Try to catch a wrong privacy claim."),
    "bench": ("simulation.bench_cli", "app", "", "Measure us and a peer in one run."),
    "generate": ("simulation.datasets.cli", "app", "generate", "Write a generated marketplace."),
}


def _not_installed(command: str, error: ModuleNotFoundError) -> InputError:
    """Which extra brings the package that a command has missed."""
    part = COMMANDS[command][0].split(".")[0]
    extra = part if part in ("server", "simulation") else "client"
    return InputError(
        command,
        error.name,
        "the command needs a package that is not installed",
        f"pip install 'groundswell[{extra}]'",
    )


class LazyGroup(typer.core.TyperGroup):
    """A group whose commands are imported by name, when one is called or asked for help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, application, inner, _ = COMMANDS[cmd_name]
        try:
            mounted = vars(import_module(f"groundswell.{module}"))[application]
        except ModuleNotFoundError as error:
            raise _not_installed(cmd_name, error) from error
        command = typer.main.get_command(mounted)
        if inner and isinstance(command, click.Group):
            return command.get_command(ctx, inner)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[3]) for name, entry in COMMANDS.items()])

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Typer's rich help would import every command for its own line of help.
        click.Group.format_help(self, ctx, formatter)


def _build() -> LazyGroup:
    return LazyGroup(
        name="groundswell",
        help="Private federated forecasting of shoppers' short-term interest.\n\n"
        "Example: groundswell simulate --out runs/demo",
        no_args_is_help=True,
    )


def _show_usage(error: click.UsageError) -> None:
    """Wrong use in one line; a command that needs arguments and has none shows its help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    path = error.ctx.command_path if error.ctx else "groundswell"
    rule = error.format_message().rstrip(".")
    print(f"groundswell: {rule}; see {path} --help", file=sys.stderr)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with the exit code that the contract names."""
    command = _build()
    try:
        code = command.main(args=arguments, prog_name="groundswell", standalone_mode=False)
    except InputError as error:
        print(f"groundswell: {error}", file=sys.stderr)
        code = 2
    except ModuleNotFoundError as error:
        name = (sys.argv[1:] if arguments is None else arguments)[0]
        if (error.name or "").partition(".")[0] == "groundswell":
            raise
        print(f"groundswell: {_not_installed(name, error)}", file=sys.stderr)
        code = 2
    except click.UsageError as error:
        _show_usage(error)
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except GroundswellError as error:
        print(f"groundswell: {error}", file=sys.stderr)
        code = 1
    except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as error:
        if error.filename is None:
            raise
        print(f"groundswell: {error.filename}: {error.strerror}; name another", file=sys.stderr)
        code = 2
    except (KeyboardInterrupt, click.Abort):
        code = 130
    sys.exit(code if isinstance(code, int) else 0)
