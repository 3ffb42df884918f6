"""hydrart info"""

import os
import platform
from dataclasses import asdict
from typing import Any

import click
import numpy as np

import hydrart
from hydrart.cli.exit_codes import one_sentence
from hydrart.cli.listing import WeightsCommand
from hydrart.cli.options import json_option, print_json, print_text, threads_option
from hydrart.codegen.isa import choose
from hydrart.device.sensors import blind_goals
from hydrart.errors import SettingError, WeightFileError
from hydrart.format.architecture import listing
from hydrart.format.reader import WeightFile
from hydrart.governor.blind import NEEDED
from hydrart.readings import READINGS
from hydrart.resources import DEFAULT_WEIGHTS, bundled, find


@click.command(cls=WeightsCommand)
@click.argument("weights", default=DEFAULT_WEIGHTS)
@threads_option
@click.option("--verify", is_flag=True, help="Read the whole file and compare its checksums.")
@json_option
@one_sentence
def info(weights: str, threads: int | None, verify: bool, as_json: bool) -> None:
    """Describe a weight file, and this machine.

    For the machine it shows versions, cores and the instruction set.
    """
    file = WeightFile(find(weights, "weights", ".safetensors", WeightFileError))
    if verify:
        file.verify()
    report = _report(file, verify, threads)
    if as_json:
        print_json(report)
        return
    arch, meta = file.meta.architecture, file.meta
    accuracy = meta.accuracy
    print_text(f"{file.path}: {meta.precision}, {file.path.stat().st_size / 1e6:.1f} MB, heads {listing(arch.heads)}")
    print_text(
        f"depth {arch.depth}, head_dim {arch.head_dim}, {arch.image_size}x{arch.image_size} pixels in patches of "
        f"{arch.patch}, {arch.classes} classes"
    )
    print_text(f"weight file version {meta.version}, {_looks(file)}")
    print_text(f"licence {meta.licence}; from {meta.source}")
    if accuracy:
        print_text(f"accuracy measured on {accuracy.pictures} pictures of {accuracy.dataset}")
    print_text(" k   params M    GMACs      MB   top-1")
    for row in report["networks"]:
        top1 = f"{row['top1']:7.2%}" if row["top1"] is not None else "unknown"
        print_text(
            f"{row['k']:2}  {row['parameters'] / 1e6:9.2f}  {row['macs'] / 1e9:7.4f}  {row['bytes'] / 1e6:6.1f} {top1}"
        )
    if verify:
        print_text("every checksum matches")
    here = report["here"]
    print_text(
        f"hydrart {here['hydrart']}, Python {here['python']}, NumPy {here['numpy']}, {here['machine']}, "
        f"{here['cores']} cores, "
        f"kernels for {here['isa'] or 'no instruction set of this CPU'}, {here['threads']} threads"
    )
    blind = [f"{goal} (no {READINGS[NEEDED[goal]].title})" for goal in here["blind"]]
    print_text(f"goals that cannot act here: {', '.join(blind) or 'none'}")
    print_text(f"weights that ship: {', '.join(bundled('weights', '.safetensors')) or 'none'}")


def _report(file: WeightFile, verified: bool, threads: int | None) -> dict[str, Any]:
    arch, meta = file.meta.architecture, file.meta
    top1 = meta.accuracy.top1 if meta.accuracy else {}
    return {
        "path": str(file.path),
        "version": meta.version,
        "precision": meta.precision,
        "licence": meta.licence,
        "source": meta.source,
        "source_sha256": meta.source_sha256,
        "history": meta.history,
        "architecture": asdict(arch),
        "preprocessing": vars(meta.preprocessing),
        "labels": meta.labels,
        "accuracy": meta.accuracy and vars(meta.accuracy),
        "networks": [
            {
                "k": k,
                "parameters": arch.parameters(k),
                "macs": arch.macs(k),
                "bytes": file.end(k),
                "top1": top1.get(k),
            }
            for k in arch.heads
        ],
        "verified": verified,
        "here": {
            "hydrart": hydrart.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "machine": platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "isa": _isa(),
            "threads": threads or len(os.sched_getaffinity(0)),
            "blind": blind_goals(),
        },
    }


def _looks(file: WeightFile) -> str:
    arch = file.meta.architecture
    if not arch.looks:
        return "one look at a picture, with any k"
    looks = (f"k={look.heads} at {look.image_size}x{look.image_size} pixels" for look in arch.looks)
    return f"looks at a picture with {', then '.join(looks)}; fusion {arch.fusion}"


def _isa() -> str | None:
    """The instruction set of the native backend's kernels; None on a CPU that they do not run on."""
    try:
        return choose().name
    except SettingError:
        return None
