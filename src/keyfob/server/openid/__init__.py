# SPDX-License-Identifier: Apache-2.0
"""Signing operators in by another OpenID issuer (OpenID Connect Core 1.0, code flow with PKCE)."""
