# SPDX-License-Identifier: Apache-2.0
"""What MQTT says: topic names, topic filters and reason codes, without any I/O."""
