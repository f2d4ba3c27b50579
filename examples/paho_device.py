# SPDX-License-Identifier: Apache-2.0
"""A device with paho: one publish that its token allows, and one that it does not."""
# ruff: noqa: ANN001, ANN201, ARG001, D103

import sys

import paho.mqtt.client as mqtt

from keyfob.device import TokenSource
from keyfob.device.paho import attach

client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="dev1", protocol=mqtt.MQTTv5)
client.tls_set("keyfob-data/ca.pem")
source = TokenSource(
    "https://localhost:8443", client_id="dev1", client_secret=sys.argv[1], ca="keyfob-data/ca.pem"
)
attach(client, source)


def on_publish(client, userdata, mid, reason_code, properties):
    print(f"message {mid}: {reason_code}")


client.on_publish = on_publish
client.connect("localhost", 8883, 60)
client.loop_start()
for topic in ("devices/dev1/temperature", "devices/dev2/temperature"):
    client.publish(topic, "21.5", qos=1).wait_for_publish(5)
client.disconnect()
client.loop_stop()
