# SPDX-License-Identifier: Apache-2.0
"""One broker, one package: its dialect on one side, the guard on the other; no policy in here."""
