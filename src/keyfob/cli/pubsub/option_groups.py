# SPDX-License-Identifier: Apache-2.0
"""Options that several commands have, written once: each field of a dataclass is one."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

__all__ = ["grouped"]


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command for Typer, from one that takes dataclasses among its parameters.

    Args:
        command: A parameter whose type is a dataclass stands for the fields of that, which are
            annotated as options are, and have defaults.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type[Any]] = {}
    options: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            groups[parameter.name] = hint
            options.extend(_fields(hint))
        else:
            options.append(parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY))

    def typed(**values: Any) -> None:
        for name, group in groups.items():
            own = {one.name: values.pop(one.name) for one in dataclasses.fields(group)}
            values[name] = group(**own)
        command(**values)

    typed.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    typed.__annotations__ = {one.name: one.annotation for one in options}
    typed.__name__, typed.__doc__ = command.__name__, command.__doc__
    return typed


def _fields(group: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=one.default,
            annotation=hints[one.name],
        )
        for one in dataclasses.fields(group)
    ]
