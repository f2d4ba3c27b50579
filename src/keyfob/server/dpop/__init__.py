# SPDX-License-Identifier: Apache-2.0
"""DPoP at the token endpoint (RFC 9449): a token is bound to a key that the client proves to have.

proof     what a proof must say, and who signed it      pure
address   when two URLs are the same                    pure
nonces    what makes a proof fresh                      pure
binding   composes them, and lets each proof count once
"""
