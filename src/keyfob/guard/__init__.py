# SPDX-License-Identifier: Apache-2.0
"""The resource server beside a broker: the pure core, given I/O.

A CONNECT walks through these modules in this order::

    guard              decide, admitted, offline, revoke: what a broker's adapter calls
    judge              the checks, in their order         steps: told one by one
    credentials        which field carries the token
    verified_tokens    the tokens verified lately         grants: what they allow
    admission          the decision to let in             reservations: until it is
    sessions           who is connected or stored         resync: agreeing with a broker's plugin
    audit              one event per decision             audit_sinks: file and console

and what it stands on is kept fresh by these::

    key_sources        the issuers' keys                  discovery: where they are (RFC 8414)
    revocation_feed    follows an issuer's revocations    revocations: what holds
    endings            ends the sessions they concern
    fetching           one bounded GET                    backoff: when to try again
    database           the guard's file                   background: work that never ends
"""
