# SPDX-License-Identifier: Apache-2.0
"""The resource server beside a broker: the pure core, given I/O.

A CONNECT walks through these modules in this order::

    guard                   what a broker's adapter calls
    answering               at once, or when what is missing has come
    patience                how long a broker that stands still is kept waiting
    judge                   the checks, in their order
    steps                   the checks, told one by one
    credentials             which field carries the token
    verified_tokens         the tokens verified lately
    introspection           asks an issuer about a token (RFC 7662)
    introspection_answers   what it said lately
    breaker                 when it is not asked (and ``http.allowance``)
    grants                  what tokens allow
    admission               the decision to let in
    reservations            whose an identifier is until then
    sessions                who is connected or stored
    resync                  agreeing with a broker's plugin
    audit, audit_sinks      one event per decision, and where it goes

What has changed reaches who is connected::

    upstreams               the trusted issuers and the work that keeps them fresh
    issuer_bindings         an issuer's parts
    key_sources             its keys
    refreshing_keys         how they stay fresh
    absent_keys             which keys it is known not to have
    discovery               where its endpoints are (RFC 8414)
    revocation_feed         follows its revocations
    events, http_events     takes its security events (RFC 8417, 8935)
    reasking, live_tokens   asks again about live sessions
    reconsidering           decides who is connected again
    revocations, endings    what holds, and whose sessions it ends

Several processes may decide::

    shares                  whose client is whose
    lead, worker_link       what concerns all of them
    figures                 their numbers together

And the rest: ``fetching`` (one bounded exchange), ``client_authentication`` (as whom), ``backoff``,
``background`` (work that never ends), ``database`` (the guard's file), ``health``, ``metrics``,
``histogram`` and ``http_app`` (what operators see).
"""
