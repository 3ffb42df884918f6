"""hydrart cameras"""

import click

from hydrart.cli.exit_codes import one_sentence
from hydrart.cli.options import json_option, print_json, print_text, warn
from hydrart.output.text import printable
from hydrart.source.v4l2 import Camera, Format, cameras


@click.command("cameras")
@json_option
@one_sentence
def cameras_command(as_json: bool) -> None:
    """List the connected cameras.

    It shows their formats, sizes and frame rates, and the programs that use them.
    """
    found = cameras()
    if as_json:
        for camera in found:
            print_json(camera.as_dict())
        return
    for camera in found:
        print_text(f"{camera.path}  {printable(camera.name or 'name unknown')}: {_state(camera)}")
        for form in camera.formats:
            print_text(f"  {printable(_text(form))}")
    if not found:
        warn("no camera is connected")


def _state(camera: Camera) -> str:
    if not camera.readable:
        return "access denied: sudo usermod -aG video $USER, then log in again"
    if not camera.answers:
        return "its driver does not answer: unplug it, or reboot"
    state = {True: "busy", False: "free", None: "busy or free: unknown"}[camera.busy]
    who = ", ".join(f"{name} (process {pid})" for pid, name in camera.holders)
    return printable(f"{state}, open in {who}" if who else state)


def _text(form: Format) -> str:
    sizes = [f"{w}x{h} {'/'.join(f'{fps:g}' for fps in rates)}".strip() for (w, h), rates in form.sizes.items()]
    return f"{form.pixels}  {', '.join(sizes)}"
