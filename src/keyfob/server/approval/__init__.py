# SPDX-License-Identifier: Apache-2.0
"""The pages on which a person signs in and approves a device (RFC 8628 section 3.3)."""
