# SPDX-License-Identifier: Apache-2.0
"""What came of a fleet that was run for real: for a person, as JSON, and as a picture."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from keyfob.cli.load_plot import columns_of, svg, text_plot
from keyfob.cli.output import fields, table
from keyfob.device.fleet_load import LifetimeLoad
from keyfob.simulation.comparison import DRAWS, Comparison, compare
from keyfob.simulation.figures import Figures, Time, What, quantile
from keyfob.simulation.plan import Plan

__all__ = ["Outcome", "faults_of", "picture_of", "report_data", "report_text", "warnings_of"]

BUSY: Final = 0.85
"""Cores: a process that uses so much of one is late itself."""

LATE: Final = 0.25
"""Seconds by which an event loop may be late in one of a hundred rounds."""

AGREES: Final = 0.75
"""Share of intervals: nine in ten are expected, and a quarter off is no chance any more."""

_ENOUGH: Final = 8
_SVG_COLUMNS: Final = 880


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a fleet.

    Attributes:
        plan: What it did.
        broker: Where it connected.
        devices: How many there were.
        lifetime: Seconds that a token lived.
        seconds: For how long they published.
        interrupted: Whether somebody ended it early.
        figures: What was counted.
    """

    plan: Plan
    broker: str
    devices: int
    lifetime: float
    seconds: float
    interrupted: bool
    figures: Figures

    @property
    def aside(self) -> int:
        """Seconds of the boot."""
        return math.ceil(self.plan.boot)

    @cached_property
    def counts(self) -> list[int]:
        """Token requests, second by second."""
        return [self.figures.requests[second] for second in range(int(self.seconds))]

    @cached_property
    def comparison(self) -> Comparison:
        """What was measured beside the schedule."""
        return compare(
            self.counts,
            devices=self.devices,
            lifetime=self.lifetime,
            boot=self.plan.boot,
            aside=self.aside,
        )

    @property
    def busiest(self) -> float:
        """Cores that the busiest of the simulator's processes used."""
        return max(self.figures.cpu, default=0.0) / max(self.seconds, 1.0)


def faults_of(outcome: Outcome) -> dict[str, str]:
    """Return what was not as it has to be: a code, and what it means."""
    figures, found = outcome.figures, {}
    answers = figures.of(What.ANSWER)
    refused = sum(n for code, n in answers.items() if code[:1] == "4" and code[:3] != "429")
    if not answers.get("200"):
        found["no_token"] = "no device got a token"  # noqa: S105 - a code
    if refused:
        found["token_refused"] = f"{refused:,} token requests were refused"
    if number := figures.total(What.EXPIRED_SHOWN):
        found["expired_shown"] = f"{number:,} tokens were shown after their end"
    if number := figures.total(What.TOO_EARLY):
        found["retry_after_ignored"] = f"{number:,} requests came before the server's Retry-After"
    if outcome.plan.qos and (number := figures.total(What.LOST)):
        found["messages_lost"] = f"{number:,} messages never came"
    if outcome.plan.qos == 2 and (number := figures.total(What.TWICE)):
        found["messages_twice"] = f"{number:,} messages came more than once"
    for code, number in figures.of(What.FAULT).items():
        found["device_failed"] = f"{number:,} devices ended: {code}"
    return found


def warnings_of(outcome: Outcome) -> dict[str, str]:
    """Return what makes the figures worth less: a code, and what it means."""
    found, lag = {}, quantile(outcome.figures.times[Time.LAG], 0.99) or 0.0
    used = f"{outcome.busiest:.2f} cores in its busiest process, {_ms(lag)} late (p99)"
    if outcome.busiest > BUSY:
        found["simulator_busy"] = f"the simulator is the bottleneck: {used}"
    elif lag > LATE:
        found["machine_busy"] = f"the simulator had to wait for a CPU: {used}"
    if number := outcome.figures.on_the_way:
        found["incomplete"] = f"{number:,} messages wait for devices that were away at the end"
    compared = outcome.comparison
    if compared.intervals >= _ENOUGH and compared.inside < AGREES * compared.intervals:
        found["load_differs"] = "the load is not what the schedule says"
    return found


def report_data(outcome: Outcome) -> dict[str, object]:
    """Return the report as JSON has it."""
    figures, compared = outcome.figures, outcome.comparison
    times = {each: _quantiles(figures, each) for each in Time}
    return {
        "devices": outcome.devices,
        "issuer": outcome.plan.issuer,
        "broker": outcome.broker,
        "seconds": round(outcome.seconds, 1),
        "boot": outcome.plan.boot,
        "interrupted": outcome.interrupted,
        "lifetime": outcome.lifetime,
        "tokens": {
            "requests": figures.requests.total(),
            "answers": figures.of(What.ANSWER),
            "lifetimes": figures.of(What.LIFETIME),
            "metadata": figures.of(What.METADATA),
            "seconds": times[Time.TOKEN],
            "retry_after": figures.total(What.RETRY_AFTER),
            "retry_after_ignored": figures.total(What.TOO_EARLY),
            "expired_shown": figures.total(What.EXPIRED_SHOWN),
        },
        "load": {
            "interval": compared.interval,
            "lifetimes": [
                {**_load(one), "schedule": _load(two)}
                for one, two in zip(compared.measured, compared.expected, strict=True)
            ],
            "intervals": compared.intervals,
            "as_scheduled": compared.inside,
            "each_second": outcome.counts,
            "schedule_each_second": [round(each, 2) for each in compared.curve],
        },
        "connections": {
            "connacks": figures.of(What.CONNACK),
            "seconds": times[Time.CONNECT],
            "planned_reconnects": figures.total(What.PLANNED),
            "reauthentications": figures.total(What.REAUTHENTICATION),
            "failed": figures.of(What.NO_CONNECTION),
            "ended": figures.of(What.ENDING),
        },
        "messages": {
            "sent": figures.total(What.SENT),
            "acknowledged": figures.total(What.ACKNOWLEDGED),
            "refused": figures.of(What.REFUSED),
            "received": figures.total(What.RECEIVED),
            "lost": figures.total(What.LOST),
            "on_the_way": figures.on_the_way,
            "twice": figures.total(What.TWICE),
            "subacks": figures.of(What.SUBACK),
            "seconds": times[Time.MESSAGE],
        },
        "simulator": {
            "processes": len(figures.cpu),
            "cores": round(sum(figures.cpu) / max(outcome.seconds, 1.0), 3),
            "busiest": round(outcome.busiest, 3),
            "late": times[Time.LAG],
        },
        "faults": faults_of(outcome),
        "warnings": warnings_of(outcome),
    }


def report_text(outcome: Outcome) -> str:
    """Return the report for a person."""
    figures = outcome.figures
    end = ", ended early" if outcome.interrupted else ""
    head = (
        f"{outcome.devices:,} devices for {outcome.seconds:.0f} s{end}; booted within"
        f" {outcome.plan.boot:g} s; tokens of {outcome.lifetime:g} s"
    )
    width = max(min(shutil.get_terminal_size().columns - 16, 120), 20)
    plot = text_plot(columns_of(outcome.counts, width))
    kept = fields(
        {
            "token requests": _counted(figures, What.ANSWER, Time.TOKEN),
            "Retry-After": f"{figures.total(What.RETRY_AFTER):,} times, ignored"
            f" {figures.total(What.TOO_EARLY):,} times",
            "expired shown": f"{figures.total(What.EXPIRED_SHOWN):,}",
            "CONNACKs": _counted(figures, What.CONNACK, Time.CONNECT),
            "planned": f"{figures.total(What.PLANNED):,} reconnects,"
            f" {figures.total(What.REAUTHENTICATION):,} re-authentications",
            "unplanned": f"endings: {_codes(figures.of(What.ENDING))};"
            f" no connection: {_codes(figures.of(What.NO_CONNECTION))}",
            "messages": _messages(figures),
            "simulator": _simulator(outcome),
        }
    )
    said = [f"FAULT    {code}: {what}" for code, what in faults_of(outcome).items()]
    said += [f"warning  {code}: {what}" for code, what in warnings_of(outcome).items()]
    parts = [head, "token requests, each second:", plot, _loads(outcome.comparison), kept]
    return "\n\n".join([*parts, *filter(None, ["\n".join(said)])])


def picture_of(outcome: Outcome) -> str:
    """Return the measured curve as SVG, with the schedule's as a line over it."""
    compared, interval = outcome.comparison, outcome.comparison.interval
    return svg(
        columns_of(outcome.counts, _SVG_COLUMNS, interval=interval),
        [],
        [],
        f"{outcome.devices:,} real devices, booted within {outcome.plan.boot:g} s, tokens of"
        f" {outcome.lifetime:g} s, means of {interval} s",
        beside=columns_of(compared.curve, _SVG_COLUMNS, interval=interval),
    )


def _loads(compared: Comparison) -> str:
    rows = [
        (
            f"{one.begins:,} s",
            *(f"{each:,.1f}" for each in (one.mean, one.peak)),
            f"{one.ratio:.2f}",
            *(f"{each:,.1f}" for each in (two.mean, two.peak)),
            f"{two.ratio:.2f}",
        )
        for one, two in zip(compared.measured, compared.expected, strict=True)
    ]
    if not rows:
        return "it ended with the boot: nothing to compare with the schedule"
    columns = ("LIFETIME FROM", "MEAN", "PEAK", "RATIO", "BY SCHEDULE: MEAN", "PEAK", "RATIO")
    return (
        f"behind the boot, a second, peaks over {compared.interval} s:\n\n"
        f"{table(columns, rows)}\n\n"
        f"{compared.inside} of {compared.intervals} intervals of {compared.interval} s lie within"
        f" what {DRAWS} simulated fleets of this size show"
    )


def _messages(figures: Figures) -> str:
    of = figures.total
    return (
        f"{of(What.SENT):,} sent, {of(What.ACKNOWLEDGED):,} acknowledged,"
        f" {_codes(figures.of(What.REFUSED), 'none')} refused, {of(What.RECEIVED):,} received,"
        f" {of(What.LOST):,} lost, {of(What.TWICE):,} twice{_p50_p99(figures, Time.MESSAGE)}"
    )


def _simulator(outcome: Outcome) -> str:
    figures = outcome.figures
    cores = sum(figures.cpu) / max(outcome.seconds, 1.0)
    lag = quantile(figures.times[Time.LAG], 0.99) or 0.0
    processes = "1 process" if len(figures.cpu) == 1 else f"{len(figures.cpu)} processes"
    return (
        f"{cores:.2f} cores in {processes}, the busiest {outcome.busiest:.2f}; late p99 {_ms(lag)}"
    )


def _counted(figures: Figures, what: What, time: Time) -> str:
    return f"{figures.total(what):,}: {_codes(figures.of(what))}{_p50_p99(figures, time)}"


def _codes(counts: Mapping[str, int], nothing: str = "none") -> str:
    return ", ".join(f"{number:,} {code}" for code, number in counts.items()) or nothing


def _p50_p99(figures: Figures, time: Time) -> str:
    p50, p99 = (quantile(figures.times[time], share) for share in (0.5, 0.99))
    return "" if p50 is None or p99 is None else f"; p50 {_ms(p50)}, p99 {_ms(p99)}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


def _quantiles(figures: Figures, time: Time) -> dict[str, float | None]:
    found = {name: quantile(figures.times[time], share) for name, share in _SHARES.items()}
    return {name: None if each is None else round(each, 4) for name, each in found.items()}


_SHARES: Final = {"p50": 0.5, "p99": 0.99, "most": 1.0}


def _load(load: LifetimeLoad) -> dict[str, float]:
    return {
        "begins": load.begins,
        "mean": round(load.mean, 3),
        "peak": round(load.peak, 3),
        "ratio": round(load.ratio, 3),
    }
