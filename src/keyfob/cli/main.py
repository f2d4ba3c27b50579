# SPDX-License-Identifier: Apache-2.0
"""``keyfob``: every command, and how its errors are shown.

Exit codes: 0 allowed or done, 1 refused, 2 misuse or a system that does not work.
"""

from __future__ import annotations

import json
import sys

import typer

from keyfob.cli import application, device, mosquitto, serve, token, up
from keyfob.cli.output import Exit
from keyfob.errors import KeyfobError, TokenError

__all__ = ["app", "main"]

app = typer.Typer(
    name="keyfob",
    help="OAuth 2.0 for MQTT: short-lived access tokens for devices, checked by your broker.",
    no_args_is_help=True,
    add_completion=True,
    # A traceback with local variables would show tokens and secrets.
    pretty_exceptions_enable=False,
)
app.command("init")(up.init)
app.command("up")(up.up)
app.command("server")(serve.server)
app.command("guard")(serve.guard)
app.command("token")(token.token)
app.command("inspect")(token.inspect)
app.command("explain")(token.explain)
app.add_typer(device.app, name="device")
app.add_typer(application.app, name="application")
app.add_typer(mosquitto.app, name="mosquitto")


def main() -> None:
    """Run the command line; errors of ours become one line, or JSON with ``--json``."""
    try:
        app()
    except KeyfobError as error:
        if "--json" in sys.argv:
            sys.stdout.write(json.dumps({"error": error.code, "message": error.message}) + "\n")
        else:
            sys.stderr.write(f"keyfob: {error.message} ({error.code})\n")
        sys.exit(int(Exit.REFUSED if isinstance(error, TokenError) else Exit.MISUSE))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
