# SPDX-License-Identifier: Apache-2.0
"""Security events of this server: who is told of revocations, and how they are told (RFC 8935)."""
