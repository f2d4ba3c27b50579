# SPDX-License-Identifier: Apache-2.0
"""`make bench`: every measurement, or the ones that are named on the command line."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from bench import (
    connects,
    decisions,
    endings,
    event_to_disconnect,
    import_devices,
    latency,
    messages,
    native_permission_check,
    native_records,
    revoke_to_disconnect,
    revoked_sessions,
    starts,
    tokens,
)

PARTS = {
    "messages": messages.run,
    "connects": connects.run,
    "native": native_permission_check.run,
    "records": native_records.run,
    "decisions": decisions.run,
    "latency": latency.run,
    "endings": endings.run,
    "revocations": revoke_to_disconnect.run,
    "revoked": revoked_sessions.run,
    "events": event_to_disconnect.run,
    "import": import_devices.run,
    "tokens": tokens.run,
    "starts": starts.run,
}


def main() -> None:
    """Run the measurements."""
    wanted = sys.argv[1:] or list(PARTS)
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    print(f"{len(model)} x {model[0] if model else 'unknown'}, Python {platform.python_version()}")
    for name in wanted:
        PARTS[name]()


if __name__ == "__main__":
    main()
