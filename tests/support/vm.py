"""A small Debian in QEMU's software emulation, with systemd and the kernel's virtual camera, battery and sensors.

It needs Debian packages (see `missing`) and the network, but no device and no KVM. This file also runs inside the
machine, as the first program or as a service of systemd. There it does a list of jobs and powers the machine off.
"""

import configparser
import json
import lzma
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
_TOOLS = {"qemu-system-x86_64": "qemu-system-x86", "mmdebstrap": "mmdebstrap", "mkfs.ext4": "e2fsprogs"}
_KERNEL = "linux-image-amd64"
_DISK = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "9pnet_virtio", "9p")  # modules of the initrd
# modprobe finds these inside: a camera; an I2C bus without devices, and drivers of a gauge and a thermometer on it
_DEVICES = ("vivid", "i2c_stub", "i2c_dev", "sbs_battery", "lm75")
_PACKAGES = "python3,kmod,v4l-utils,i2c-tools,busybox-static,systemd,libpam-systemd,dbus"
_FAULTS = Path(__file__).with_name("faults.c")
_LOOPBACK = "v4l2loopback*/v4l2loopback.c"  # a camera that shows a program's output; the path of its source in Debian
_SHARE = "/share"
_JOB_S = 900.0  # emulation is slow; only a hang takes longer
_MACHINE = """
-machine q35 -accel tcg -cpu max -m 2048 -nodefaults -no-user-config -no-reboot -display none -serial stdio
-kernel kernel -initrd initrd -device virtio-blk-pci,drive=disk
-drive file=disk.ext4,format=raw,if=none,id=disk,snapshot=on
"""

_INITRD = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t devtmpfs dev /dev
for m in {modules}; do $b insmod /$m; done
$b mount -t ext4 /dev/vda /root
for d in proc dev; do $b mount --move /$d /root/$d; done
exec $b switch_root /root $first
"""
_INIT = f"""#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
if [ $$ = 1 ]; then busybox mount -t sysfs sys /sys; busybox mount -t tmpfs tmp /tmp; fi
busybox mount -t 9p -o trans=virtio,version=9p2000.L share {_SHARE}
exec python3 {_SHARE}/vm.py
"""
_SYSTEMD = "/lib/systemd/systemd"
_UNIT = """[Unit]
After=dbus.service systemd-logind.service systemd-user-sessions.service
[Service]
ExecStart=/init
StandardOutput=journal+console
"""


@dataclass(frozen=True)
class Job:
    """A program to run inside. After it has printed `after` lines, `then` runs in a shell with its PID."""

    name: str
    command: tuple[str, ...]
    after: int = 0
    then: str = ""


@dataclass(frozen=True)
class Answer:
    """A job's output and its exit code; None if it was killed."""

    exit_code: int | None
    stdout: str
    stderr: str


def _repository() -> Path:
    """Return the checkout. Inside the machine, where this file lies alone, there is none."""
    return Path(__file__).resolve().parents[2]


def missing() -> list[str]:
    """Return the Debian packages that are not installed."""
    tools = _TOOLS if os.geteuid() == 0 else _TOOLS | {"newuidmap": "uidmap"}
    packages = [package for tool, package in tools.items() if not shutil.which(tool, path=_PATH)]
    return packages if _kernels() else [*packages, _KERNEL]


def not_compiled() -> list[str]:
    """Return the missing Debian packages for v4l2loopback and faults.c. No kernel ships these modules."""
    version = _kernels()[-1]
    tools = {"gcc": "gcc", "make": "make"}
    packages = [package for tool, package in tools.items() if not shutil.which(tool, path=_PATH)]
    packages += [f"linux-headers-{version}"] * (not Path("/lib/modules", version, "build/Makefile").exists())
    return packages + ["v4l2loopback-dkms"] * (not list(Path("/usr/src").glob(_LOOPBACK)))


def build(folder: Path) -> None:
    """Make kernel, initrd and disk.ext4 in the folder: Debian with Python, systemd and hydrart's requirements."""
    version = _kernels()[-1]
    modules = Path("/lib/modules", version)
    shutil.copy(f"/boot/vmlinuz-{version}", folder / "kernel")
    _call("mmdebstrap", "--variant=essential", f"--include={_PACKAGES}", "bookworm", str(folder / "root.tar"))
    root = folder / "root"
    root.mkdir()
    _call("tar", "-xf", str(folder / "root.tar"), "-C", str(root), "--exclude=./dev/*", "--no-same-owner")
    _install(root / "site")
    boot = _load_order(modules, _DISK)
    _write_initrd(folder / "initrd", (root / "bin/busybox").read_bytes(), [modules / name for name in boot])
    inside = root / "usr/lib/modules" / version
    for name in _load_order(modules, _DEVICES):
        (inside / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(modules / name, inside / name)
    if not not_compiled():
        for compiled in _compile(folder / "compiled", modules / "build"):
            shutil.copy(compiled, inside)
    _call("depmod", "-b", str(root / "usr"), version)
    (root / _SHARE[1:]).mkdir()
    (root / "init").write_text(_INIT)
    (root / "init").chmod(0o755)
    # for all users, because services do not get the environment of /init
    (root / "usr/lib/python3/dist-packages/hydrart.pth").write_text(f"{_SHARE}\n/site\n")
    units = root / "etc/systemd/system"
    (units / "jobs.service").write_text(_UNIT)
    (units / "multi-user.target.wants/jobs.service").symlink_to("/etc/systemd/system/jobs.service")
    (root / "etc/machine-id").write_text(f"{1:032x}\n")  # without an id systemd starts its first-boot setup
    # systemd requires root as the owner of the files
    as_root = () if os.geteuid() == 0 else ("unshare", "--map-root-user")
    _call(*as_root, "mkfs.ext4", "-q", "-O", "^has_journal", "-d", str(root), str(folder / "disk.ext4"), "1500M")
    shutil.rmtree(root)


def run(folder: Path, share: Path, jobs: list[Job], timeout_s: float, systemd: bool = False) -> dict[str, Answer]:
    """Boot the machine of `build` with `share` as /share and hydrart in it. Do the jobs in order, as root.

    systemd: whether systemd runs the machine and the jobs; otherwise the jobs run alone.
    """
    shutil.copy(__file__, share / "vm.py")
    shutil.copytree(_repository() / "hydrart", share / "hydrart", ignore=shutil.ignore_patterns("__pycache__"))
    share.chmod(0o755)  # readable for the users inside
    (share / "jobs.json").write_text(json.dumps([asdict(job) for job in jobs]))
    shared = f"local,path={share},mount_tag=share,security_model=none"
    kernel = f"console=ttyS0 panic=-1 quiet first={_SYSTEMD if systemd else '/init'} systemd.unit=multi-user.target"
    with open(folder / "console", "wb") as console:
        subprocess.run(
            ["qemu-system-x86_64", *_MACHINE.split(), "-append", kernel, "-virtfs", shared],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=True,
        )
    answers = share / "answers.json"
    if not answers.exists():
        raise RuntimeError(f"the virtual machine gave no answer: {(folder / 'console').read_text(errors='replace')}")
    return {name: Answer(**answer) for name, answer in json.loads(answers.read_text()).items()}


def _kernels() -> list[str]:
    """Return the installed kernels with the camera's module, oldest first."""
    found = [path.relative_to("/lib/modules").parts[0] for path in Path("/lib/modules").glob("*/kernel/**/vivid.ko*")]
    readable = [version for version in found if os.access(f"/boot/vmlinuz-{version}", os.R_OK)]
    return sorted(readable, key=lambda version: [int(number) for number in re.findall(r"\d+", version)])


def _call(*command: str) -> None:
    done = subprocess.run(command, env=os.environ | {"PATH": _PATH}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}")


def _install(folder: Path) -> None:
    """Install wheels of hydrart's requirements for Debian 12's Python 3.11, independent of the tests' Python."""
    settings = configparser.ConfigParser()
    settings.read(_repository() / "setup.cfg")
    needed = settings["options"]["install_requires"] + settings["options.extras_require"]["video"]
    platforms = [f"--platform=manylinux{glibc}_x86_64" for glibc in ("2014", "_2_27", "_2_28", "_2_34")]
    options = ["-q", "--only-binary=:all:", "--implementation=cp", "--python-version=3.11", *platforms]
    _call(sys.executable, "-m", "pip", "install", *options, "--target", str(folder), *needed.split())


def _compile(folder: Path, headers: Path) -> list[Path]:
    """Compile the modules that no kernel ships."""
    (loopback,) = list(Path("/usr/src").glob(_LOOPBACK))[-1:]
    shutil.copytree(loopback.parent, folder)
    shutil.copy(_FAULTS, folder)
    formats = folder / "v4l2loopback_formats.h"
    # It treats 10 and 12 bits as packed, but in memory each value has 16 bits.
    formats.write_text(re.sub(r"(_Y1[02],\s+\.depth = )1[02],", r"\g<1>16,", formats.read_text()))
    (folder / "Kbuild").write_text("obj-m := v4l2loopback.o faults.o\n")
    _call("make", "-s", "-C", str(headers), f"M={folder}", "modules")
    return sorted(folder.glob("*.ko"))


def _stem(module: str) -> str:
    return Path(module).name.split(".")[0].replace("-", "_")


def _load_order(modules: Path, wanted: tuple[str, ...]) -> list[str]:
    """Return the paths of modules below /lib/modules/VERSION, each after its dependencies."""
    needs = dict(line.split(":") for line in (modules / "modules.dep").read_text().splitlines())
    paths = {_stem(path): path for path in needs}
    order: list[str] = []
    for name in wanted:
        if name in paths:  # other modules are built in
            path = paths[name]
            # modules.dep lists the deepest dependency last.
            order += [needed for needed in (*reversed(needs[path].split()), path) if needed not in order]
    return order


def _module(path: Path) -> bytes:
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def _write_initrd(path: Path, busybox: bytes, modules: list[Path]) -> None:
    """Write a cpio archive in the kernel's format: /init, busybox and the modules."""
    names = [f"{number:02}-{_stem(str(module))}.ko" for number, module in enumerate(modules)]
    script = _INITRD.format(modules=" ".join(names)).encode()
    files = [("init", script), ("bin/busybox", busybox)]
    files += [(name, _module(module)) for name, module in zip(names, modules, strict=True)]
    entries = [(name, stat.S_IFDIR | 0o755, b"") for name in ("bin", "dev", "proc", "root")]
    entries += [(name, stat.S_IFREG | 0o755, data) for name, data in files]
    archive = bytearray()
    for inode, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        archive += b"\0" * (-len(archive) % 4) + data
        archive += b"\0" * (-len(archive) % 4)
    path.write_bytes(archive)


def _do(job: Job) -> Answer:
    """Inside: run a job. Its output goes to files, because a slow reader could block a pipe."""
    out, err = Path("/tmp/out"), Path("/tmp/err")
    with open(out, "wb") as stdout, open(err, "wb") as stderr:
        program = subprocess.Popen(job.command, cwd=_SHARE, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
    start, then = time.monotonic(), job.then
    while program.poll() is None and time.monotonic() - start < _JOB_S:
        if then and out.read_bytes().count(b"\n") >= job.after:
            subprocess.Popen(then, shell=True, env=os.environ | {"PID": str(program.pid)})
            then = ""
        time.sleep(0.1)
    exit_code = program.poll()
    program.kill()
    program.wait()
    return Answer(exit_code, out.read_text(errors="replace"), err.read_text(errors="replace"))


def main() -> None:
    """Inside: do the jobs, write the answers, power off."""
    share = Path(_SHARE)
    answers = {}
    for entry in json.loads((share / "jobs.json").read_text()):
        job = Job(entry["name"], tuple(entry["command"]), entry["after"], entry["then"])
        answers[job.name] = asdict(_do(job))
    (share / "answers.part").write_text(json.dumps(answers))
    (share / "answers.part").rename(share / "answers.json")
    os.sync()
    Path("/proc/sysrq-trigger").write_text("o")
    time.sleep(60)


if __name__ == "__main__":
    main()
