# SPDX-License-Identifier: Apache-2.0
"""Keyfob: OAuth 2.0 for MQTT."""

__version__ = "0.1.0"
