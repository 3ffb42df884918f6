"""Every example runs, against the real server it talks to where that can be had."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hydrart.resources import DEMO
from tests.support.commands import PATIENCE_S, video
from tests.support.networks import CIFAR

EXAMPLES = Path(__file__).parents[1] / "examples"
PYTHON = "/usr/bin/python3"  # Debian's: it has ROS
# the environment's Python with Debian's packages after its own
WITH_DEBIAN = "import runpy, sys; sys.path.append('/usr/lib/python3/dist-packages'); sys.argv = sys.argv[1:]; "
WITH_DEBIAN += "runpy.run_path(sys.argv[0], run_name='__main__')"
ROBOT = """
import time, rospy
from sensor_msgs.msg import Image
from std_msgs.msg import String
rospy.init_node("robot")
pictures = rospy.Publisher("camera", Image, queue_size=1)
rospy.Subscriber("label", String, lambda message: print(message.data, flush=True))
for i in range(1200):
    image = Image(height=4, width=5, step=20, encoding="rgb8", data=bytes(80))
    image.header.stamp = rospy.Time(1000 + i)
    pictures.publish(image)
    time.sleep(0.1)
"""


def output(*command: object, **options: Any) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=PATIENCE_S, **options)
    assert done.returncode == 0, done.stderr
    stdout: str = done.stdout
    return stdout


@contextmanager
def running(*command: object, **options: Any) -> Iterator["subprocess.Popen[str]"]:
    """A program that is ended when it is no longer needed."""
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True, **options) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < end, "the server does not start"
            time.sleep(0.1)
        else:
            return


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_examples_are_short_and_compile(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) < 60
    compile(text, path, "exec")


def test_asyncio() -> None:
    lines = output(sys.executable, EXAMPLES / "asyncio_stream.py", DEMO).splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(len(lines))) and len(lines) > 10
    assert all(line.split()[1] in CIFAR for line in lines)


def test_opencv_overlay(tmp_path: Path) -> None:
    source = video(tmp_path / "x.avi", frames=4)
    output(sys.executable, EXAMPLES / "opencv_overlay.py", source, tmp_path / "out")
    pictures = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in pictures] == [f"{i:06}.jpg" for i in range(4)]
    with Image.open(pictures[0]) as image:
        assert image.size == (64, 48) and max(high for _, high in image.getextrema()) > 200, "text on black"  # type: ignore[misc]


def test_opencv_overlay_without_windows(tmp_path: Path) -> None:
    """The headless build of OpenCV has no windows, and no build has one without a display."""
    command = [sys.executable, str(EXAMPLES / "opencv_overlay.py"), str(video(tmp_path / "x.avi"))]
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.endswith("pass a FOLDER, or install opencv-python and give it a display\n")


@pytest.mark.slow
def test_mqtt(tmp_path: Path) -> None:
    mqtt = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    mosquitto = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
    if not mosquitto:
        pytest.skip("mosquitto is not installed")
    port = free_port()
    (tmp_path / "conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    received: list[tuple[str, str]] = []
    with running(mosquitto, "-c", tmp_path / "conf", stderr=subprocess.DEVNULL):
        wait_for_port(port)
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        client.on_message = lambda *args: received.append((args[2].topic, args[2].payload.decode()))
        client.on_connect = lambda *args: client.subscribe("hydrart/#")
        client.connect("127.0.0.1", port)
        client.loop_start()
        output(sys.executable, EXAMPLES / "mqtt_publisher.py", "demo", "127.0.0.1", port)
        end = time.monotonic() + PATIENCE_S
        while ("hydrart/state", "offline") not in received and time.monotonic() < end:
            time.sleep(0.05)
        client.disconnect()
        client.loop_stop()
    assert [text for topic, text in received if topic == "hydrart/state"] == ["opening", "running", "ended", "offline"]
    results = [json.loads(text) for topic, text in received if topic == "hydrart/result"]
    assert [line["frame"] for line in results] == list(range(len(results))) and len(results) > 10
    assert {line["deadline_ms"] for line in results} == {66.667}


@pytest.mark.slow
def test_ros1(tmp_path: Path) -> None:
    needs = [PYTHON, "-c", "import rospy, sensor_msgs.msg, std_msgs.msg"]
    if not shutil.which("roscore") or subprocess.run(needs, capture_output=True).returncode:
        pytest.skip("ROS 1 is not installed: python3-roslaunch, python3-rospy, python3-sensor-msgs, python3-std-msgs")
    port = free_port()
    uri = {"ROS_MASTER_URI": f"http://127.0.0.1:{port}", "ROS_HOME": str(tmp_path), "ROS_IP": "127.0.0.1"}
    options: dict[str, Any] = {"env": os.environ | uri, "stderr": subprocess.DEVNULL}
    node = (sys.executable, "-c", WITH_DEBIAN, EXAMPLES / "ros1_node.py", "image:=camera")
    with running("roscore", "-p", port, **options):
        wait_for_port(port)
        with running(*node, **options), running(PYTHON, "-c", ROBOT, **options) as robot:
            assert robot.stdout is not None
            lines = [json.loads(robot.stdout.readline()) for _ in range(5)]
    stamps = [line["stamp"] for line in lines]
    assert stamps == sorted(set(stamps)) and all(1000 <= stamp < 2200 for stamp in stamps), "the pictures' own stamps"
    assert all(line["label"] in CIFAR for line in lines)
    assert {line["deadline_ms"] for line in lines} == {66.667}, "a topic is live"
