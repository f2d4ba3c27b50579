# SPDX-License-Identifier: Apache-2.0
"""The authorization server: issues access tokens, publishes its keys, keeps the register.

``app.create_app`` makes the ASGI application, ``serve.serve`` runs it over TLS, and
``register.Register`` changes the register from any process while it runs.
"""
