# SPDX-License-Identifier: Apache-2.0
"""Issuers of others whose assertions this server takes for its devices (RFC 7523 section 2.1)."""
