# SPDX-License-Identifier: Apache-2.0
"""The C parts and the Python parts agree on everything that Hypothesis can think of."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from keyfob.authorization.permissions import Effect, Form, Operation, Permissions, Rule
from keyfob.errors import TopicError
from keyfob.guard.credentials import has_token_shape
from keyfob.mqtt.topics import TopicFilter, TopicName, covers, matches, overlaps
from tests.brokers.mosquitto.plugin import frames
from tests.brokers.mosquitto.plugin.runner import Runner, utf8

# One runner serves every example: it keeps nothing that an answer depends on.
agreeing = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

# Few and odd levels, so that filters meet; long ones, so that a prefix has more than 8 bytes.
LEVELS = ("", "a", "b", "$", "$S", "$share", "aa", "ä", "devices", "devices1", "0123456789")
level = st.sampled_from(LEVELS)
wild_level = st.sampled_from((*LEVELS, "+", "+", "#"))


def joined(levels: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(levels, min_size=1, max_size=6).map("/".join)


def parses(kind: type[TopicFilter | TopicName], text: str) -> bool:
    try:
        kind.parse(text)
    except TopicError:
        return False
    return True


names = joined(level).filter(lambda text: parses(TopicName, text)).map(TopicName.parse)
plain = joined(wild_level).filter(lambda text: parses(TopicFilter, text))
shared = st.builds("$share/{}/{}".format, st.sampled_from(("g", "h")), plain).filter(
    lambda text: parses(TopicFilter, text)
)
filters = st.one_of(plain, plain, shared).map(TopicFilter.parse)

rules = st.builds(
    Rule,
    effect=st.sampled_from(Effect),
    operations=st.sampled_from((Operation.PUBLISH, Operation.SUBSCRIBE, Operation(3))),
    filter=filters,
    literal=st.booleans(),
    qos=st.integers(1, 7),
    retain=st.integers(1, 3),
)


def permitted(drawn: Iterable[Rule], form: Form) -> Permissions:
    kept = tuple(r for r in drawn if form is Form.FIRST_MATCH or r.effect is Effect.ALLOW)
    return Permissions(form, kept)


permission_sets = st.builds(permitted, st.lists(rules, max_size=12), st.sampled_from(Form))


@agreeing
@given(text=st.one_of(st.text(), joined(wild_level), st.text("$share/+#a", max_size=14)))
@example(text="\ud800")
@example(text="a\0")
@example(text="a" * 65_535)
@example(text="a" * 65_536)
def test_both_accept_the_same_texts(runner: Runner, text: str) -> None:
    assert runner.says("filter", utf8(text)) is parses(TopicFilter, text)
    assert runner.says("name", utf8(text)) is parses(TopicName, text)


@agreeing
@given(wanted=filters, name=names)
def test_both_match_alike(runner: Runner, wanted: TopicFilter, name: TopicName) -> None:
    got = runner.says("matches", utf8(str(wanted)), utf8(name.value))
    assert got is matches(wanted, name)


@agreeing
@given(a=filters, b=filters)
@example(a=TopicFilter.parse("/+/#"), b=TopicFilter.parse("/#"))
@example(a=TopicFilter.parse("+"), b=TopicFilter.parse("/#"))
def test_both_compare_filters_alike(runner: Runner, a: TopicFilter, b: TopicFilter) -> None:
    texts = utf8(str(a)), utf8(str(b))
    assert runner.says("covers", *texts) is covers(a, b)
    assert runner.says("overlaps", *texts) is overlaps(a, b)


@agreeing
@given(
    allowed=permission_sets,
    topics=st.lists(names, min_size=1, max_size=6),
    requests=st.lists(filters, max_size=6),
    kind=st.tuples(st.integers(0, 3), st.booleans()),
)
def test_both_decide_alike(
    runner: Runner,
    allowed: Permissions,
    topics: list[TopicName],
    requests: list[TopicFilter],
    kind: tuple[int, bool],
) -> None:
    qos, retain = kind
    # What a client asks for is seldom far from what it may.
    requests += [rule.filter for rule in allowed.rules]
    assert runner.ask("load", frames.record(frames.permissions(allowed))) == "loaded"
    for name in topics:
        text = utf8(name.value)
        assert (
            runner.says("publish", text, qos, int(retain))
            is allowed.publish(name, qos, retain).allowed
        )
        assert runner.says("receive", text) is allowed.receive(name).allowed
    for requested in requests:
        got = runner.says("subscribe", utf8(str(requested)), qos)
        assert got is allowed.subscribe(requested, qos).allowed


@agreeing
@given(
    count=st.integers(60, 200),
    wanted=st.integers(0, 250),
    stem=st.sampled_from(("d/", "devices/dev1/", "a/b/c/d/e/f/")),
)
def test_both_find_one_rule_among_many_siblings(
    runner: Runner, count: int, wanted: int, stem: str
) -> None:
    many = Permissions.allow_only(
        Rule(operations=Operation.PUBLISH, filter=TopicFilter.parse(f"{stem}{i}/#"))
        for i in range(count)
    )
    assert runner.ask("load", frames.record(frames.permissions(many))) == "loaded"
    assert runner.says("publish", f"{stem}{wanted}/x".encode(), 0, 0) is (wanted < count)


def test_a_filter_that_mqtt_does_not_allow_is_not_taken_in(runner: Runner) -> None:
    """The frame says nothing wrong; the compiled permissions refuse it."""
    given_rule = bytes((1, 3, 0, 7, 3)) + frames.text("a/#/b")
    allowed = b"\x00\x00\x01" + given_rule
    assert runner.ask("load", frames.record(allowed)) == "refused"


def test_a_request_that_is_no_filter_is_refused(runner: Runner) -> None:
    everything = Permissions.allow_only(
        [Rule(operations=Operation(3), filter=TopicFilter.parse("#"))]
    )
    assert runner.ask("load", frames.record(frames.permissions(everything))) == "loaded"
    for text in ("", "a/#/b", "$share/g", "a+", "$share//a"):
        assert not runner.says("subscribe", text.encode(), 0)
    assert not runner.says("publish", b"", 0, 0)
    assert not runner.says("receive", b"")


@agreeing
@given(
    credential=st.one_of(
        st.binary(max_size=12),
        st.text("eyw{vz09-_.AE=+ \n", max_size=14).map(str.encode),
        st.from_regex(r"e[w-z0-9_-][a-z]*(\.[A-Z0-9_-]*){1,3}\n?", fullmatch=True).map(str.encode),
    )
)
def test_both_tell_a_token_from_a_password(runner: Runner, credential: bytes) -> None:
    own = credential.startswith(b"kfa_")
    assert runner.says("token", credential) is (own or has_token_shape(credential))
