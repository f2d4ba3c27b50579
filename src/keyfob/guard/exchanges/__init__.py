# SPDX-License-Identifier: Apache-2.0
"""Enhanced authentication (MQTT 5.0 section 4.12): one file for each way to show a token."""
