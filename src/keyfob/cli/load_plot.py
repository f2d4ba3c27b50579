# SPDX-License-Identifier: Apache-2.0
"""A load curve as a picture: in block characters for a terminal, or as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["columns_of", "svg", "text_plot"]

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_LEFT: Final = 70
_TOP: Final = 40
_WIDTH: Final = 880
_HEIGHT: Final = 260
_FONT: Final = 'font-family="sans-serif" font-size="13"'
_LEGEND: Final = "blue: token requests a second; black: a lifetime's mean; red: the limit of a peak"
_LEGEND_BESIDE: Final = "blue: token requests a second, measured; red: by the schedule alone"


def columns_of(
    counts: Sequence[float], columns: int, *, interval: int = 1, aside: int = 0
) -> list[float]:
    """Return the requests per second in the fullest interval of each column.

    Args:
        counts: Requests in each second.
        columns: How many columns there are at most.
        interval: Seconds that are taken together.
        aside: Seconds at the beginning that do not count.
    """
    counted = [0.0] * min(aside, len(counts)) + list(counts[aside:])
    rates = [sum(counted[at : at + interval]) / interval for at in range(0, len(counted), interval)]
    width = max(-(-len(rates) // columns), 1)
    return [max(rates[at : at + width]) for at in range(0, len(rates), width)]


def text_plot(columns: Sequence[float], *, height: int = 10) -> str:
    """Draw columns in lines of block characters, the highest of them over the whole height.

    Args:
        columns: A height each.
        height: Lines.
    """
    top = max(columns, default=0.0) or 1.0
    eighths = [round(value / top * height * 8) for value in columns]
    lines = []
    for line in range(height - 1, -1, -1):
        label = f"{top:>12,.0f} " if line == height - 1 else " " * 13
        row = "".join(_BLOCKS[min(max(each - line * 8, 0), 8)] for each in eighths)
        lines.append(f"{label}|{row}".rstrip())
    return "\n".join([*lines, f"{'0':>12} +{'-' * len(columns)}"])


def svg(
    columns: Sequence[float],
    means: Sequence[float],
    limits: Sequence[float],
    title: str,
    *,
    beside: Sequence[float] = (),
) -> str:
    """Draw columns, and for each of as many equal parts as there are means, a mean and a limit.

    Args:
        columns: A height each, from left to right.
        means: A line for each part, full.
        limits: A line for each part, dashed.
        title: What stands above; without characters that XML reserves.
        beside: Other columns, drawn as a line over the first.
    """
    top = max((*columns, *limits, *beside), default=0.0) * 1.05 or 1.0
    part = _WIDTH / max(len(means), 1)
    box = f"0 0 {_LEFT + _WIDTH + 20} {_TOP + _HEIGHT + 50}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" {_FONT}>',
        f"<title>{title}</title>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{_LEFT}" y="24" font-size="15">{title}</text>',
        f'<path d="{_area(columns, top)}" fill="#4c78a8"/>',
    ]
    for at, (mean, limit) in enumerate(zip(means, limits, strict=True)):
        left, right = _LEFT + at * part, _LEFT + (at + 1) * part
        lines.append(_line(left, right, _y(mean, top), "#000", ""))
        lines.append(_line(left, right, _y(limit, top), "#c33", ' stroke-dasharray="6 4"'))
        lines.append(
            f'<text x="{left + part / 2:.1f}" y="{_TOP + _HEIGHT + 18}" '
            f'text-anchor="middle">lifetime {at + 1}</text>'
        )
    if beside:
        lines.append(
            f'<path d="{_steps(beside, top)}" fill="none" stroke="#c33" stroke-width="1.5"/>'
        )
    lines += [_scale(value, top) for value in (0.0, top / 1.05)]
    legend = _LEGEND_BESIDE if beside else _LEGEND
    lines += [
        f'<text x="{_LEFT}" y="{_TOP + _HEIGHT + 40}">{legend}</text>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _y(value: float, top: float) -> float:
    return _TOP + _HEIGHT * (1 - value / top)


def _area(columns: Sequence[float], top: float) -> str:
    return f"{_steps(columns, top)}V{_TOP + _HEIGHT}Z"


def _steps(columns: Sequence[float], top: float) -> str:
    step = _WIDTH / max(len(columns), 1)
    path = [f"M{_LEFT} {_TOP + _HEIGHT}"]
    for at, value in enumerate(columns):
        path.append(f"V{_y(value, top):.1f}H{_LEFT + (at + 1) * step:.1f}")
    return "".join(path)


def _line(left: float, right: float, y: float, color: str, more: str) -> str:
    return f'<path d="M{left:.1f} {y:.1f}H{right:.1f}" stroke="{color}" stroke-width="1.5"{more}/>'


def _scale(value: float, top: float) -> str:
    place = f'x="{_LEFT - 6}" y="{_y(value, top) + 4:.1f}"'
    return f'<text {place} text-anchor="end">{value:,.0f}</text>'
