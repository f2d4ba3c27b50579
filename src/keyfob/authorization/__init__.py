# SPDX-License-Identifier: Apache-2.0
"""What a token allows: permissions, where they come from, and the decision about a CONNECT."""
