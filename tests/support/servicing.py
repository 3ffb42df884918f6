"""Helpers of the tests of hydrart as a user's service in the virtual machine."""

from tests.support import vm

USER, UID = "watcher", 1000
# In emulation the kernels would compile for minutes. These tests are about systemd.
MODEL = "--weights /share/w.safetensors --backend reference"
PROPERTIES = "LoadState,UnitFileState,ActiveState,SubState,Result,NRestarts,StatusText,MainPID"
# After su there is no XDG_RUNTIME_DIR, so hydrart must find the user's systemd itself.
_SHELL = f"""
cd /share
NAME=eye
service() {{ verb=$1; shift; python3 -m hydrart service $verb --name $NAME "$@"; }}
ctl() {{ XDG_RUNTIME_DIR=/run/user/{UID} systemctl --user "$@"; }}
show() {{ ctl show $NAME -P $1; }}
facts() {{ ctl show $NAME -p {PROPERTIES}; }}
is() {{ case "$(show $1)" in $2) true;; *) false;; esac; }}
until_is() {{ for i in $(seq 600); do is $1 "$2" && return; sleep 0.5; done; echo "$1 is never $2" >&2; }}
journal() {{ journalctl -q -o cat --user-unit $NAME -n 150; }}
words() {{ for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done 2>/dev/null; }}
"""
LINGER = f"""
loginctl enable-linger {USER}
for i in $(seq 300); do [ -S /run/user/{UID}/systemd/private ] && break; sleep 1; done
"""


def job(name: str, script: str) -> vm.Job:
    """Return a job of the service's user."""
    return vm.Job(name, ("runuser", "-u", USER, "--", "sh", "-c", _SHELL + script))


def root(name: str, script: str) -> vm.Job:
    return vm.Job(name, ("sh", "-c", script))


def facts(answer: vm.Answer) -> dict[str, str]:
    """Return the lines name=value of a job's output."""
    assert "is never" not in answer.stderr, answer
    return dict(line.split("=", 1) for line in answer.stdout.splitlines() if "=" in line and "\t" not in line)


def state(answer: vm.Answer) -> tuple[str, ...]:
    told = facts(answer)
    return tuple(told[name] for name in ("ActiveState", "SubState", "Result", "NRestarts"))
