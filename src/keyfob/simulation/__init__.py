# SPDX-License-Identifier: Apache-2.0
"""A fleet of devices that is run for real: the SDK's own token sources and MQTT clients, counted.

plan         what the fleet does
credentials  who its devices are
bounds       how large it may be, and whom it may load
device       one device, as the SDK's users write one
figures      what is counted, and how parts of it are added
worker       a process with a share of the devices
crew         the processes together
comparison   what was measured beside what the schedule alone says
"""
