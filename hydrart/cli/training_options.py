"""Command line options that several tools take, and values of such."""

import re
from pathlib import Path

import click

data = click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder of train/ and test/.")
seed = click.option("--seed", default=0, type=click.IntRange(0))
device = click.option("--device", default="auto", type=click.Choice(["auto", "cpu", "cuda"]))
threads = click.option("--threads", type=click.IntRange(1, 256), help="[default: every core]", show_default=False)
resume = click.option("--resume", is_flag=True, help="Go on from the checkpoint beside the output, if there is one.")


def heads(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """'3-12', '3,6,12' or '6' as an ascending tuple."""
    if value is None:
        return None
    ks: set[int] = set()
    for part in value.split(","):
        match = re.fullmatch(r"\s*(\d{1,2})\s*(?:-\s*(\d{1,2})\s*)?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= 64:
            raise click.BadParameter(f"{value!r} is no list of heads: write 3-12, or 3,6,12, or 6", ctx, param)
        ks.update(range(first, last + 1))
    return tuple(sorted(ks))


def weight_file(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    """A path that ends in .safetensors."""
    if value.suffix != ".safetensors":
        raise click.BadParameter(f"{value} must end in .safetensors", ctx, param)
    return value


def shares(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...]:
    """'1,1,2' as numbers, none of them negative and one at least positive; () for none given."""
    if value is None:
        return ()
    try:
        numbers = tuple(float(part) for part in value.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(0 <= number <= 1e6 for number in numbers) or not sum(numbers):
        raise click.BadParameter(f"{value!r} is no list of weights: write one number per k, such as 1,1,2", ctx, param)
    return numbers
