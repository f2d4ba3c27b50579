# SPDX-License-Identifier: Apache-2.0
"""The pages as HTML: no script, one small style sheet, and headers that allow nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import Response

__all__ = ["Pages"]

_HERE: Final = Path(__file__).parent
_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Cache-Control": "no-store",
        "Pragma": "no-cache",
        "Content-Security-Policy": (
            "default-src 'none'; style-src 'self'; img-src data:; form-action 'self';"
            " base-uri 'none'; frame-ancestors 'none'"
        ),
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        # With no-referrer browsers would send "Origin: null" with our own forms.
        "Referrer-Policy": "same-origin",
    }
)


class Pages:
    """Renders pages.

    Args:
        at: The path of the first page; the others are below it.
    """

    def __init__(self, at: str) -> None:
        self._at = at
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
        )
        self._style = (_HERE / "style.css").read_bytes()

    def render(
        self,
        template: str,
        *,
        status: int = 200,
        error: str = "",
        operator: str = "",
        token: str = "",
        **values: object,
    ) -> Response:
        """Return a page.

        Args:
            template: Its name.
            status: The HTTP status.
            error: What is wrong, for a person; empty: nothing.
            operator: Who is signed in; empty: nobody.
            token: Of the page's forms.
            values: What else the template shows. All of it is escaped.
        """
        text = self._templates.get_template(f"{template}.html").render(
            at=self._at, error=error, operator=operator, token=token, **values
        )
        return Response(text, status_code=status, media_type="text/html", headers=dict(_HEADERS))

    def style(self) -> Response:
        """Return the style sheet."""
        return Response(
            self._style, media_type="text/css", headers={"Cache-Control": "public, max-age=300"}
        )
