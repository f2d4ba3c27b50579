# SPDX-License-Identifier: Apache-2.0
"""A device with paho: one publish that its token allows, and one that it does not."""
# ruff: noqa: ANN001, ANN201, ARG001, D103

import sys

import paho.mqtt.client as mqtt

access_token = sys.argv[1]

client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="dev1", protocol=mqtt.MQTTv5)
client.username_pw_set(username=access_token, password="")
client.tls_set("keyfob-data/ca.pem")


def on_publish(client, userdata, mid, reason_code, properties):
    print(f"message {mid}: {reason_code}")


client.on_publish = on_publish
client.connect("localhost", 8883, 60)
client.loop_start()
for topic in ("devices/dev1/temperature", "devices/dev2/temperature"):
    client.publish(topic, "21.5", qos=1).wait_for_publish(5)
client.disconnect()
client.loop_stop()
