# SPDX-License-Identifier: Apache-2.0
"""``keyfob doctor``: how a device gets its token, what that allows, and what the broker does.

Theory of operation. Three parts are looked at in the order in which a device meets them: the
authorization server (``reaching``, ``issuer_checks``, ``clock_checks``), the token
(``token_checks``, ``rights``), the broker (``trying``, ``probe``, ``broker_checks``).
Each part is a ``Section``: facts that were seen, and findings about them. A part that fails keeps
nothing from the next one that can be looked at without it. Nothing is taken for granted that can
be tried: what a broker ought to refuse is shown to it, too.

No token or secret is in a fact or a finding: claims are, and sizes.
"""
