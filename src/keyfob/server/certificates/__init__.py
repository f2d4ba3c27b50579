# SPDX-License-Identifier: Apache-2.0
"""Certificates of clients (RFC 8705): what one says, and whether it is the one that is expected.

distinguished_names  subjects as values, not as texts         pure
reading              a certificate, taken apart               pure
identity             what a client is registered with, and whether a certificate fits it   pure
registering          files of an operator, checked
"""
