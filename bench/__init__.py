# SPDX-License-Identifier: Apache-2.0
"""Measurements: medians of interleaved rounds, CPU per operation first."""
