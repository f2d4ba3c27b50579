# SPDX-License-Identifier: Apache-2.0
"""What a token is: strict parsing, keys, signatures and claims; no I/O, time is an argument.

A token walks through these modules in this order::

    jws            the compact form and its header     RFC 7515
    keys           the issuer's key, one algorithm     RFC 7517, 7638
    signatures     the check itself                    RFC 7518, 8037
    claims         typed claims                        RFC 7519
    kinds          no other kind of JWT                RFC 8725
    verify         who is trusted, for what            RFC 8725, 9068
    introspected   what its issuer says of it          RFC 7662
    confirmation   whose hands it must be in           RFC 7800, 8705

``opaque`` finds the issuer of a token that no other than that issuer can read; such a token
meets only the last three.
"""
