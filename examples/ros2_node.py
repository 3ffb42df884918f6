"""A ROS 2 node: labels for a topic of pictures. python examples/ros2_node.py --ros-args -r image:=/camera/image_raw

Subscribes to `image` (sensor_msgs/Image, rgb8, bgr8 or mono8). Publishes `label` (std_msgs/String, JSON with the
picture's own stamp). An answer is due 1/15 s after its picture; fps= changes that.
"""

import json
import math
import queue
from collections.abc import Iterator
from typing import Any

import numpy as np
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import String

import hydrart


def frames(node: Any, inbox: "queue.Queue[Any]") -> Iterator[tuple[Any, Any]]:
    """The pictures that arrive, each with its header, until the node shuts down."""
    while rclpy.ok():
        rclpy.spin_once(node, timeout_sec=0.2)
        while not inbox.empty():
            message = inbox.get()
            rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
            channels = 1 if message.encoding == "mono8" else 3
            picture = rows[:, : message.width * channels].reshape(message.height, message.width, channels)
            yield picture[:, :, ::-1] if message.encoding == "bgr8" else picture, message.header


def main() -> None:
    rclpy.init()
    node = rclpy.create_node("hydrart")
    inbox: queue.Queue[Any] = queue.Queue()
    publisher = node.create_publisher(String, "label", 1)
    source = hydrart.Opener(frames(node, inbox), live=True)
    with hydrart.Stream(source, hydrart.load(), patience_s=math.inf) as stream:
        node.create_subscription(Image, "image", inbox.put, qos_profile_sensor_data)
        for result in stream:
            stamp = result.stamp.stamp  # type: ignore[attr-defined]
            line = {"stamp": stamp.sec + stamp.nanosec * 1e-9, **result.as_dict()}
            publisher.publish(String(data=json.dumps(line)))


if __name__ == "__main__":
    main()
