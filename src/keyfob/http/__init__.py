# SPDX-License-Identifier: Apache-2.0
"""HTTP as both the authorization server and the guard serve it: bounded, over TLS, quiet.

It knows nothing of OAuth; whoever serves brings an ASGI application.
"""
