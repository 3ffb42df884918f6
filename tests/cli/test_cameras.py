"""hydrart cameras"""

import pytest

from hydrart.source.v4l2 import Camera, Format
from tests.support.commands import good, json_lines

FORMAT = Format("MJPG", {(1280, 720): (30.0, 15.0), (640, 480): ()})


def camera(busy: bool | None = False, readable: bool = True, answers: bool = True, name: str = "A camera") -> Camera:
    return Camera(
        "/dev/video0", name, "uvcvideo", readable, busy, ((17, "che\x1bese"),) if busy else (), (FORMAT,), answers
    )


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (camera(), "/dev/video0  A camera: free"),
        (camera(busy=True), "/dev/video0  A camera: busy, open in che\\x1bese (process 17)"),
        (camera(busy=None), "/dev/video0  A camera: busy or free: unknown"),
        (camera(readable=False), "/dev/video0  A camera: access denied: sudo usermod -aG video $USER"),
        (camera(answers=False, name=""), "/dev/video0  name unknown: its driver does not answer: unplug it, or reboot"),
    ],
)
def test_a_line_for_the_camera_and_one_for_each_format(
    found: Camera, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hydrart.cli.cameras.cameras", lambda: [found])
    shown = good("cameras")
    first, second = shown.stdout.splitlines()
    assert first.startswith(said) and second == "  MJPG  1280x720 30/15, 640x480" and not shown.stderr


def test_json_is_a_line_for_each_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hydrart.cli.cameras.cameras", lambda: [camera(), camera(busy=True)])
    free, busy = json_lines(good("cameras", "--json").stdout)
    assert (free["busy"], busy["busy"]) == (False, True) and free["path"] == "/dev/video0"
    assert free["formats"][0]["pixels"] == "MJPG"


def test_no_camera_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hydrart.cli.cameras.cameras", list)
    shown = good("cameras")
    assert shown.stdout == "" and shown.stderr == "no camera is connected\n"
    assert good("cameras", "--json").stdout == ""
