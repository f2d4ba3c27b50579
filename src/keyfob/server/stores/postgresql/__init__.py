# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL beneath the store classes. Only ``url`` is there without psycopg."""
