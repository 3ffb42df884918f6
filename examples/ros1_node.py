"""A ROS 1 node: labels for a topic of pictures. rosrun, or python examples/ros1_node.py image:=/camera/image_raw

Subscribes to `image` (sensor_msgs/Image, rgb8, bgr8 or mono8). Publishes `label` (std_msgs/String, JSON with the
picture's own stamp). An answer is due 1/15 s after its picture; fps= changes that.
"""

import json
import math
import queue
from collections.abc import Iterator
from typing import Any

import numpy as np
import rospy
from sensor_msgs.msg import Image
from std_msgs.msg import String

import hydrart


def frames(inbox: "queue.Queue[Any]") -> Iterator[tuple[Any, Any]]:
    """The pictures that arrive, each with its header, until the node shuts down."""
    while not rospy.is_shutdown():
        try:
            message = inbox.get(timeout=0.2)
        except queue.Empty:
            continue
        rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
        channels = 1 if message.encoding == "mono8" else 3
        picture = rows[:, : message.width * channels].reshape(message.height, message.width, channels)
        yield picture[:, :, ::-1] if message.encoding == "bgr8" else picture, message.header


def main() -> None:
    rospy.init_node("hydrart")
    inbox: queue.Queue[Any] = queue.Queue()
    publisher = rospy.Publisher("label", String, queue_size=1)
    source = hydrart.Opener(frames(inbox), live=True)
    with hydrart.Stream(source, hydrart.load(), patience_s=math.inf) as stream:
        rospy.Subscriber("image", Image, inbox.put, queue_size=1)
        for result in stream:
            stamp = result.stamp.stamp.to_sec()  # type: ignore[attr-defined]
            publisher.publish(json.dumps({"stamp": stamp, **result.as_dict()}))


if __name__ == "__main__":
    main()
