# SPDX-License-Identifier: Apache-2.0
"""Dynamic client registration and its management (RFC 7591, RFC 7592).

    initial_tokens    who may register, how often, and what the new client may be at most
    client_wish       what a client says of itself, parsed and held against that; pure
    registrar         does it, in the register

Nobody registers without an initial access token of the operator.
"""
