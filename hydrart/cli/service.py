"""hydrart service"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click

from hydrart.cli.errors import Failure, one_sentence
from hydrart.cli.options import json_option, print_json, warn

_UNIT = """[Unit]
Description=hydrart {arguments}
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
WorkingDirectory={folder}
Restart=on-failure
RestartSec=5
WatchdogSec=60
TimeoutStartSec=600

[Install]
WantedBy=default.target
"""


def _name(context: click.Context, option: click.Parameter, value: str) -> str:
    if not value or not all(c.isalnum() or c in "-_" for c in value):
        raise click.BadParameter("letters, digits, - and _ only", context, option)
    return value


_name_option = click.option("--name", default="hydrart", callback=_name, help="Name of the unit.")


@click.group("service")
def service() -> None:
    """Run hydrart whenever this user's systemd runs, with a watchdog.

    `loginctl enable-linger` starts it at boot, before anyone logs in.
    """


@service.command(context_settings={"ignore_unknown_options": True})
@_name_option
@click.option("--no-start", is_flag=True, help="Write the unit, but do not start it.")
@json_option
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- run ...")
@one_sentence
def install(name: str, no_start: bool, as_json: bool, arguments: tuple[str, ...]) -> None:
    """Write a unit for the command line after --, for example: -- run --camera 0 --quiet, and start it."""
    if arguments[0] != "run":
        raise click.UsageError("only run can be a service: write -- run and its options")
    path = unit_path(name)
    program = (sys.executable, "-m", "hydrart")
    command = " ".join(map(quoted, (*program, *arguments)))
    text = _UNIT.format(arguments=quoted(" ".join(arguments)), command=command, folder=quoted(os.getcwd(), ""))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if not no_start:
        _systemctl("daemon-reload")
        _systemctl("enable", f"{name}.service")
        _systemctl("restart", f"{name}.service")
    if as_json:
        print_json({"unit": str(path), "started": not no_start})
    else:
        warn(f"{path} is written{'' if no_start else ' and started; its messages: journalctl --user -u ' + name}")


@service.command()
@_name_option
@json_option
@one_sentence
def status(name: str, as_json: bool) -> None:
    """Tell whether the service is installed and what it does."""
    path = unit_path(name)
    facts = {"unit": str(path), "installed": path.exists(), "active": None, "status": None, "restarts": None}
    if facts["installed"]:
        shown = _systemctl("show", f"{name}.service", "--property=ActiveState,StatusText,NRestarts")
        values = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        restarts = values.get("NRestarts", "")
        facts |= {"active": values.get("ActiveState"), "status": values.get("StatusText") or None}
        facts["restarts"] = int(restarts) if restarts.isdecimal() else None
    if as_json:
        print_json(facts)
    elif not facts["installed"]:
        click.echo(f"{name} is not installed")
    else:
        click.echo(
            f"{name} is {facts['active']}, restarted {facts['restarts']} times: {facts['status'] or 'no status'}"
        )


@service.command()
@_name_option
@json_option
@one_sentence
def remove(name: str, as_json: bool) -> None:
    """Stop the service and delete its unit."""
    path = unit_path(name)
    if not path.exists():
        raise Failure(f"{path} does not exist: there is nothing to remove")
    if shutil.which("systemctl") and os.environ.get("XDG_RUNTIME_DIR"):
        _systemctl("disable", "--now", f"{name}.service")
    path.unlink()
    if as_json:
        print_json({"unit": str(path), "removed": True})
    else:
        warn(f"{path} is removed")


def unit_path(name: str) -> Path:
    """Where systemd looks for the units of this user."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base, "systemd", "user", f"{name}.service")


def quoted(text: str, mark: str = '"') -> str:
    """The text as one word of a unit file: systemd unquotes, and expands % and $."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("\n", "\\n")
    if not mark:
        return text.replace("%", "%%")
    escaped = escaped.replace("$", "$$")
    return escaped if escaped and all(c.isalnum() or c in "-_./:=@%,+" for c in escaped) else f'"{escaped}"'


def _systemctl(*arguments: str) -> str:
    if not shutil.which("systemctl"):
        raise Failure("systemctl is not here: this needs a machine that systemd runs")
    done = subprocess.run(["systemctl", "--user", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"systemctl --user {arguments[0]} failed: {' '.join(done.stderr.split()) or 'no reason given'}")
    return done.stdout
