# SPDX-License-Identifier: Apache-2.0
"""The admin HTTP API: what operators' programs do to the register over the network.

    access        who may: an access token of a service, for this API alone
    operations    what an operation is: method, path, scope, and the types of its parts
    openapi       the description, made from the same table
    problems      how it says no (RFC 9457)
    routes        the table, as routes of the server

Each other file has the operations of one kind of resource.

An operation does what ``Register`` does for the command line, so every change has its line in the
trail, and it is committed before the answer is sent.
"""
