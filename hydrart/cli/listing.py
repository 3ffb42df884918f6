"""Help that lists the names an option or an argument takes, found when the help is asked for."""

from collections.abc import Callable, Iterable
from typing import Any

import click

from hydrart.resources import bundled


class NamesOption(click.Option):
    """An option that takes names. names: returns them."""

    def __init__(self, *args: Any, names: Callable[[], Iterable[str]], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.names = names

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        return record and (record[0], f"{record[1]}  [names: {', '.join(self.names())}]")


class WeightsCommand(click.Command):
    """A command whose argument is a weight file or the name of one that ships."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        formatter.write_paragraph()
        formatter.write_text(f"Weights that ship: {', '.join(weights_names())}")


def weights_names() -> Iterable[str]:
    """The networks that ship."""
    return bundled("weights", ".safetensors")


def device_names() -> Iterable[str]:
    """The device profiles that ship."""
    return bundled("devices", ".yaml")


def trace_names() -> Iterable[str]:
    """The traces that ship."""
    return bundled("devices/traces", ".csv")


def accuracy_names() -> Iterable[str]:
    """The tables of accuracies that ship."""
    return bundled("devices/accuracy", ".yaml")


def policy_names() -> Iterable[str]:
    """The policies of the simulator."""
    # Most commands need no simulator.
    from hydrart.lab.policies import NAMES

    return (*NAMES, "fixed-K", "all")
