"""Results to an MQTT broker: python examples/mqtt_publisher.py [SOURCE [HOST [PORT]]]; needs paho-mqtt.

Topics: hydrart/result has a JSON line per frame. hydrart/state says what the camera does, and "offline" when this
program is gone; the broker keeps it.
"""

import json
import sys

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

import hydrart


def main(source: str = "demo", host: str = "localhost", port: str = "1883") -> None:
    model = hydrart.load()
    client = Client(CallbackAPIVersion.VERSION2)
    client.will_set("hydrart/state", "offline", qos=1, retain=True)
    client.connect(host, int(port))
    client.loop_start()

    def on_event(event: hydrart.Event) -> None:
        client.publish("hydrart/state", event.state, qos=1, retain=True)

    try:
        with hydrart.Stream(source, model, on_event=on_event) as stream:
            for result in stream:
                client.publish("hydrart/result", json.dumps(result.as_dict()))
    finally:
        client.publish("hydrart/state", "offline", qos=1, retain=True).wait_for_publish(5)
        client.disconnect()
        client.loop_stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
