"""hydrart service"""

import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from hydrart.cli.exit_codes import LASTING, Failure, one_sentence
from hydrart.cli.options import json_option, print_json, warn
from hydrart.cli.run import run
from hydrart.output.text import printable
from hydrart.source.address import SCHEMES, has_secrets, without_secrets

# Exit code 130 means that the program was stopped before its first frame. The watchdog ends a hang with SIGABRT, and
# Python's fault handler then prints where the program hung.
_UNIT = f"""[Unit]
Description={{description}}
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={{command}}
WorkingDirectory={{folder}}
Environment=PYTHONFAULTHANDLER=1
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=2 {LASTING}
SuccessExitStatus=130
WatchdogSec=60
TimeoutStartSec=600
TimeoutStopSec=30

[Install]
WantedBy=default.target
"""
_MARK = " -m hydrart run"  # every unit that install writes holds this text
_LINGER = Path("/var/lib/systemd/linger")
_PROPERTIES = ("ActiveState", "SubState", "Result", "ExecMainStatus", "StatusText", "NRestarts")


class _NoManager(Failure):
    """No systemd runs for this user."""


def _name(context: click.Context, option: click.Parameter, value: str) -> str:
    if not value or not all(c.isalnum() or c in "-_" for c in value):
        raise click.BadParameter("letters, digits, - and _ only", context, option)
    return value


_name_option = click.option("--name", default="hydrart", callback=_name, help="Name of the unit.")


@click.group("service")
def service() -> None:
    """Run hydrart as a service of this user's systemd.

    A watchdog starts it again when it hangs. `loginctl enable-linger` starts it at boot, before anyone logs in.
    """


@service.command(context_settings={"ignore_unknown_options": True})
@_name_option
@click.option("--no-start", is_flag=True, help="Write the unit, but do not start it.")
@json_option
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- run ...")
@one_sentence
def install(name: str, no_start: bool, as_json: bool, arguments: tuple[str, ...]) -> None:
    """Write a unit for a command line, and start it.

    The command line comes after --, for example: -- run --camera 0 --quiet
    """
    if arguments[0] != "run":
        raise click.UsageError("only run can be a service: write -- run and its options")
    # wrong options fail here, not later in the journal
    run.make_context("run", list(arguments[1:]), parent=click.get_current_context().find_root())
    path = unit_path(name)
    if path.exists():
        _check_own(path)
    if not no_start:
        _systemctl("show", "--property=Version")  # raises before the unit is written where systemd does not run
    kept, secret = _without_address(name, arguments)
    words = (sys.executable, "-m", "hydrart", *kept)
    if not all(map(_is_text, words)):
        raise Failure("the command line is not UTF-8, which a unit file must be: rename the files in it")
    command = " ".join(map(quoted, words))
    # The journal keeps the description for a long time, so it holds no passwords.
    shown = " ".join(without_secrets(word) if "://" in word else word for word in ("hydrart", *arguments))
    description, folder = (_ended(line.replace("%", "%%")) for line in (printable(shown), _working_folder()))
    text = _UNIT.format(description=description, command=command, folder=folder)
    if secret:
        _write(source_path(name), f"{secret}\n")
    _write(path, text)
    if not no_start:
        _systemctl("daemon-reload")
        _systemctl("enable", f"{name}.service")
        _start(name)
    if as_json:
        print_json({"unit": str(path), "started": not no_start})
    elif no_start:
        warn(f"{path} is written")
    else:
        warn(f"{path} is written and started; its messages: journalctl --user-unit {name}")
        if not Path(_LINGER, _user()).exists():
            warn(f"it runs while you are logged in; from boot on with: loginctl enable-linger {_user()}")


@service.command()
@_name_option
@json_option
@one_sentence
def status(name: str, as_json: bool) -> None:
    """Show whether the service is installed and what it does."""
    path = unit_path(name)
    facts: dict[str, Any] = {"unit": str(path), "installed": path.exists()}
    facts |= dict.fromkeys(("active", "sub", "result", "exit_code", "status", "restarts"))
    if facts["installed"]:
        facts |= _state(name)
    if as_json:
        print_json(facts)
    elif not facts["installed"]:
        click.echo(f"{name} is not installed")
    else:
        sub = "" if facts["sub"] == facts["active"] else f" ({facts['sub']})"
        times = "once" if facts["restarts"] == 1 else f"{facts['restarts']} times"
        click.echo(f"{name} is {facts['active']}{sub}, restarted {times}: {_summary(facts)}")


@service.command()
@_name_option
@json_option
@one_sentence
def remove(name: str, as_json: bool) -> None:
    """Stop the service and delete its unit."""
    path = unit_path(name)
    if not path.exists():
        raise Failure(f"{path} does not exist: there is nothing to remove")
    _check_own(path)
    process = ""
    try:
        process = _systemctl("show", f"{name}.service", "--property=MainPID", "--value").strip()
        _systemctl("disable", "--now", f"{name}.service")
        managed = True
    except _NoManager:  # without a systemd the service does not run either
        managed = False
    path.unlink()
    source_path(name).unlink(missing_ok=True)
    Path(path.parent, "default.target.wants", path.name).unlink(missing_ok=True)
    if managed:
        _systemctl("daemon-reload")
        # systemd keeps a failed unit after its file is gone; for any other unit the call fails, which does no harm
        _call_systemctl("reset-failed", f"{name}.service")
    # MainPID is 0 where the service did not run
    left = int(process) if process.isdecimal() and Path("/proc", process).exists() else None
    if as_json:
        print_json({"unit": str(path), "removed": True, "left": left})
    else:
        warn(f"{path} is removed")
    if left is not None:
        raise Failure(f"its process {left} hangs in a driver, where nothing can end it: unplug its camera, or reboot")


def unit_path(name: str) -> Path:
    """The path of a unit file in the folder of this user's units."""
    return Path(_config(), "systemd", "user", f"{name}.service")


def source_path(name: str) -> Path:
    """The path of the file that holds the address of a service's source, where that has a password."""
    return Path(_config(), "hydrart", f"{name}.source")


def _config() -> str | Path:
    try:
        return os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    except RuntimeError:  # neither HOME nor an entry among the users
        raise Failure("this user has no home folder: set HOME, or XDG_CONFIG_HOME") from None


def _without_address(name: str, arguments: tuple[str, ...]) -> tuple[list[str], str | None]:
    """The command line with @FILE in place of an address that has a password, and that address.

    Every user of the machine sees the command lines of all processes.
    """
    kept, secret = [], None
    for word in arguments:
        match = re.fullmatch(rf"(--source=)?((?:{'|'.join(SCHEMES)})://.*)", word, re.DOTALL | re.IGNORECASE)
        if match and has_secrets(match[2]):
            secret = match[2]
            word = f"{match[1] or ''}@{source_path(name)}"
        kept.append(word)
    return kept, secret


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    path.chmod(0o600)
    path.write_text(text, encoding="utf-8")


def quoted(text: str) -> str:
    """Escape the text as one word of a command line in a unit file, where systemd expands % and $."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    if escaped and all(c.isalnum() or c in "-_./:=@%,+" for c in escaped):
        return escaped
    hidden = {c: "".join(f"\\x{byte:02x}" for byte in c.encode()) for c in escaped if not c.isprintable()}
    return f'"{"".join(hidden.get(c, c) for c in escaped)}"'


def _ended(line: str) -> str:
    """The line, its last backslash escaped: systemd takes one at the end for a line that goes on in the next."""
    return f"{line}\\" if (len(line) - len(line.rstrip("\\"))) % 2 else line


def _is_text(word: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in word)


def _working_folder() -> str:
    folder = os.getcwd()
    if not folder.isprintable() or folder.endswith(("\\", " ")):
        raise Failure(f"the folder {folder} cannot be written into a unit file: install from another folder")
    return folder


def _check_own(path: Path) -> None:
    if _MARK not in path.read_text(errors="replace"):
        raise Failure(f"{path} was not written by hydrart: choose another --name")


def _start(name: str) -> None:
    """Start or restart the service. Raises Failure with its last status."""
    if not _call_systemctl("restart", f"{name}.service").returncode:
        return
    state = _state(name)
    then = "systemd goes on trying" if state["sub"] == "auto-restart" else f"see journalctl --user-unit {name}"
    raise Failure(f"{name} is installed but did not start, {_summary(state)}; {then}")


def _state(name: str) -> dict[str, Any]:
    shown = _systemctl("show", f"{name}.service", f"--property={','.join(_PROPERTIES)}")
    values = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    active, sub, result, code, text, restarts = (values.get(name) or None for name in _PROPERTIES)
    return {
        "active": active,
        "sub": sub,
        "result": result,
        "exit_code": int(code) if code and result == "exit-code" else None,
        # the status of a process that was killed is out of date
        "status": text if result in ("success", "exit-code") else None,
        "restarts": int(restarts) if restarts and restarts.isdecimal() else None,
    }


def _summary(state: dict[str, Any]) -> str:
    """The state in a few words."""
    if state["exit_code"] is not None:
        return f"exit code {state['exit_code']}: {state['status'] or 'no reason given'}"
    return state["status"] or ("no status" if state["result"] == "success" else f"ended by {state['result']}")


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _call_systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("systemctl"):
        raise _NoManager("systemctl is not installed: a service needs a machine with systemd")
    # su, sudo and cron do not set XDG_RUNTIME_DIR
    environment = {"XDG_RUNTIME_DIR": f"/run/user/{os.geteuid()}"} | os.environ
    command = ["systemctl", "--user", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _systemctl(*arguments: str) -> str:
    done = _call_systemctl(*arguments)
    if not done.returncode:
        return done.stdout
    why = " ".join(done.stderr.split()) or "no reason given"
    if "connect to bus" not in why:
        raise Failure(f"systemctl --user {arguments[0]} failed: {why}")
    if not os.path.isdir("/run/systemd/system"):
        raise _NoManager("systemd is installed but does not run: boot the machine with systemd")
    raise _NoManager(f"no systemd runs for {_user()}: log in as that user, or: loginctl enable-linger {_user()}")
