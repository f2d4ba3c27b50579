# SPDX-License-Identifier: Apache-2.0
"""``keyfob pub`` and ``keyfob sub``: mosquitto_pub and mosquitto_sub, with a token that is good.

Their flags and what they print are those of Mosquitto 2.0; what stands in the way of a token is
refused by its name. ``message_format``, ``json_form`` and ``properties`` are pure.
"""
