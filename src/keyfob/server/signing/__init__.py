# SPDX-License-Identifier: Apache-2.0
"""The keys that tokens are signed with: when each one signs, how they rest, how they change."""
