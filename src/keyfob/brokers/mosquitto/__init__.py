# SPDX-License-Identifier: Apache-2.0
"""Mosquitto: the guard's end of the plugin's link, building the plugin, configuring the broker."""
