# SPDX-License-Identifier: Apache-2.0
"""All checks over one configuration and the facts of its machine."""

from __future__ import annotations

from keyfob.brokers.mosquitto.doctor.broker_conf import BrokerConf
from keyfob.brokers.mosquitto.doctor.conf_checks import check_conf
from keyfob.brokers.mosquitto.doctor.facts import Facts
from keyfob.brokers.mosquitto.doctor.finding import Finding
from keyfob.brokers.mosquitto.doctor.machine_checks import check_machine
from keyfob.brokers.mosquitto.doctor.option_checks import check_options

__all__ = ["examine"]


def examine(conf: BrokerConf, facts: Facts) -> tuple[Finding, ...]:
    """Return what is wrong, what keeps the broker from starting among it; empty: nothing."""
    return (
        *check_conf(conf, facts.version),
        *check_options(conf, facts),
        *check_machine(facts),
    )
