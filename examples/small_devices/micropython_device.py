# SPDX-License-Identifier: Apache-2.0
"""A MicroPython device that publishes for ever, by umqtt.simple.

``config.json`` beside it says ``broker``, ``port``, ``server``, ``server_port``, ``name`` and
``secret``; ``ca.der`` is the certificate of the authority that both are trusted by.
"""

import json
import random
import time

from keyfob_token import Tokens
from umqtt.simple import MQTTClient, MQTTException

with open("config.json") as file:
    config = json.load(file)
with open("ca.der", "rb") as file:
    ca = file.read()

NAME = config["name"]
tokens = Tokens(config["server"], NAME, config["secret"], ca, port=config["server_port"])


def connected(token):
    """Return a client that has shown this token, and whose session outlives the connection."""
    client = MQTTClient(
        NAME,
        config["broker"],
        config["port"],
        user=NAME,
        password=token,
        keepalive=60,
        ssl=tokens.context,  # the token is a password: it goes over TLS alone
    )
    client.set_callback(lambda topic, message: print("got", topic, message))
    client.connect(clean_session=False)
    client.subscribe(b"commands/" + NAME.encode() + b"/#", qos=1)
    return client


def live(token):
    """Publish once a second, until there is a new token to connect with."""
    client = connected(token)
    print("connected")
    while tokens.get() == token:
        # QoS 1 returns when the broker has it: nothing is on its way when we disconnect.
        client.publish(b"devices/" + NAME.encode() + b"/temperature", b"21.5", qos=1)
        client.check_msg()
        time.sleep(1)
    client.disconnect()  # a planned end: no will fires


def pause():
    """Wait a while that is not that of all the other devices."""
    time.sleep_ms(random.randrange(1000, 15000))


def main():
    """Stay connected, for ever."""
    while True:
        try:
            live(tokens.get())
        except MQTTException as refusal:  # the CONNACK's return code: 4 and 5 are about the token
            print("refused:", refusal)
            if refusal.args[0] in (4, 5):
                tokens.refused()
            pause()
        except OSError as error:  # no token, or no broker
            print("not connected:", error)
            pause()


main()
