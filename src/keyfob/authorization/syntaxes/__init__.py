# SPDX-License-Identifier: Apache-2.0
"""The ways to write permissions into a token, one module each."""
