# SPDX-License-Identifier: Apache-2.0
"""The command line: the composition root, one module per command group."""
