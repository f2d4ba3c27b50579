# SPDX-License-Identifier: Apache-2.0
"""How to speak to an authorization server as one of its clients: where it is, and who is asking.

The guard (a client that introspects) and the device (a client that wants tokens) share it.
"""
