# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a Mosquitto that should ask the guard, and how to mend it."""
