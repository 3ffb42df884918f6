"""hydrart devices"""

import click

from hydrart.cli.errors import one_sentence
from hydrart.cli.options import json_option, print_json
from hydrart.governor.device import load_device
from hydrart.resources import bundled


@click.command()
@json_option
@one_sentence
def devices(as_json: bool) -> None:
    """List the device profiles that ship."""
    for name in bundled("devices", ".yaml"):
        device = load_device(name)
        if as_json:
            print_json(vars(device))
        else:
            ks = list(device.latency_ms)
            span = "no latencies"
            if ks:
                low, high = device.latency_ms[ks[0]], device.latency_ms[ks[-1]]
                span = f"k={ks[0]}: {low:g} ms to k={ks[-1]}: {high:g} ms"
            click.echo(f"{name:20} {span:36} {device.description}")
