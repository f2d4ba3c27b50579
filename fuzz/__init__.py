# SPDX-License-Identifier: Apache-2.0
"""Whatever comes, every parser answers in its own words: seeded, structure-aware fuzzing."""
