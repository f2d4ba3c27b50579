# SPDX-License-Identifier: Apache-2.0
"""The documentation says what the code does: no key, option, reason or link is missing or wrong."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest
from typer.main import get_command

from keyfob.authorization.decision import DenyReason
from keyfob.cli.compose import bindings
from keyfob.cli.main import app
from keyfob.cli.output import Exit
from keyfob.config import (
    AuditTarget,
    AuthorizationDetailsSection,
    Document,
    EmqxAclSection,
    EventsSection,
    GrantLifetimesSection,
    GuardSection,
    HttpSection,
    IntrospectionSection,
    IssuerSection,
    LimitsSection,
    MosquittoSection,
    OpenIdSection,
    PolicySection,
    ProxySection,
    RabbitmqSection,
    ResourceSection,
    ServerSection,
    TrustedIssuerSection,
    load,
)
from keyfob.config.sections import Rights
from keyfob.config.unknown_keys import inner_section
from keyfob.server.oauth_errors import STATUS
from keyfob.tokens.keys import KeySet
from keyfob.tokens.sign import SigningKey
from keyfob.tokens.verify import VerifiedToken, verify

ROOT = Path(__file__).parents[1]
PLUGIN = ROOT / "src/keyfob/brokers/mosquitto/plugin"
CODE = re.compile(r"`([^`\n]+)`")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """Return what stands between a heading and the next of its level or above."""
    found = re.search(rf"^(#+) {re.escape(heading)}.*$", text, re.MULTILINE)
    assert found, f"no heading {heading!r}"
    rest = text[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


# The command line


def commands(command: Any = None, path: str = "keyfob") -> Iterator[tuple[str, Any]]:
    """Walk every command that somebody types, with the words that one types for it."""
    command = command or get_command(app)
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, each in inner.items():
        if not each.hidden:  # as what the guard starts its workers by
            yield from commands(each, f"{path} {name}")


def options_of(command: Any) -> set[str]:
    words = (word for one in command.params for word in (*one.opts, *one.secondary_opts))
    return {word for word in words if word.startswith("--")}


def test_every_command_has_a_section_with_an_example() -> None:
    text = text_of("docs/command-line.md")
    for path, _ in commands():
        part = section(text, f"`{path}`")
        assert re.search(rf"^\$ (\w+=\S+ )?{path}\b", part, re.MULTILINE), f"no example of {path}"


def test_every_option_is_told_where_its_command_is() -> None:
    text = text_of("docs/command-line.md")
    common = section(text, "The command line").partition("\n## ")[0]
    for path, command in commands():
        told = common + section(text, f"`{path}`")
        for option in options_of(command):
            assert re.search(rf"`{option}[ `]", told), f"{path} {option} is not told"
    for option in options_of(get_command(app)):
        assert option in common


def test_no_option_is_told_that_is_not_there() -> None:
    known = {option for _, command in commands() for option in options_of(command)}
    known |= options_of(get_command(app)) | {"--help"}
    told = set(re.findall(r"`(--[a-z0-9-]+)", text_of("docs/command-line.md")))
    assert told <= known


def test_the_exit_codes_are_told() -> None:
    told = re.findall(r"^\| (\d+) \|", text_of("docs/command-line.md"), re.MULTILINE)
    assert [int(code) for code in told] == [*map(int, Exit), 130]


# keyfob.toml

SECTIONS: dict[str, type[msgspec.Struct]] = {
    "`[server]`": ServerSection,
    "`[server.grant_lifetimes]`": GrantLifetimesSection,
    "`[server.limits]`": LimitsSection,
    "`[server.metrics]`": HttpSection,
    "`[server.openid]`": OpenIdSection,
    "`[server.proxy]`": ProxySection,
    "`[[server.resource]]`": ResourceSection,
    "`[[server.trusted_issuer]]`": TrustedIssuerSection,
    "`[guard]`": GuardSection,
    "`[guard.http]`": HttpSection,
    "`[[issuer]]`": IssuerSection,
    "`[[issuer.policy]]`": PolicySection,
    "`[issuer.authorization_details]`": AuthorizationDetailsSection,
    "`[issuer.emqx_acl]`": EmqxAclSection,
    "`[issuer.rabbitmq]`": RabbitmqSection,
    "`[issuer.introspection]`": IntrospectionSection,
    "`[issuer.events]`": EventsSection,
    "`[mosquitto]`": MosquittoSection,
}


def rows(heading: str) -> dict[str, str]:
    """The keys of one section's table and their defaults, as the documentation has them."""
    part = section(text_of("docs/configuration.md"), heading)
    part = re.split(r"^#", part, maxsplit=1, flags=re.MULTILINE)[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", part, re.MULTILINE))


def as_documented(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    if field.default is None:
        return "none"
    value = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if isinstance(value, Path):
        value = str(value)
    return f"`{json.dumps(value)}`"


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_key_stands_in_its_section_with_its_true_default(heading: str) -> None:
    struct = SECTIONS[heading]
    nested = {name for name, kind in get_type_hints(struct).items() if inner_section(kind)}
    expected = {
        field.name: as_documented(field)
        for field in msgspec.structs.fields(struct)
        if field.name not in nested
    }
    assert rows(heading) == expected


def headings(struct: type[msgspec.Struct], path: str = "") -> Iterator[str]:
    """Every section as a file heads it."""
    for name, kind in get_type_hints(struct).items():
        if section := inner_section(kind):
            inner = f"{path}.{name}" if path else name
            yield f"`[[{inner}]]`" if get_origin(kind) is tuple else f"`[{inner}]`"
            yield from headings(section, inner)


def test_the_sections_are_all_that_there_are() -> None:
    assert set(SECTIONS) == set(headings(Document))


def test_the_ways_to_write_rights_and_the_places_for_decisions_are_told() -> None:
    part = section(text_of("docs/configuration.md"), "How rights are written")
    told = re.findall(r"^\| `(\w+)` \| [^|]+ \|$", part, re.MULTILINE)
    assert tuple(told) == get_args(Rights)
    places = section(text_of("docs/configuration.md"), "Where decisions are written")
    forms = re.findall(r"^\| `([a-z]+(?::[^`]+)?)` \|", places, re.MULTILINE)
    assert len(forms) == 6
    for text in forms:
        AuditTarget.parse(text.replace("PORT", "514"), ROOT)


# The plugin, the reasons, the errors


def test_every_option_of_the_plugin_is_told_and_no_other() -> None:
    known = set(re.findall(r'strcmp\(key, "(\w+)"\)', text_of(str(PLUGIN / "options.c"))))
    assert "guard_socket" in known
    table = re.findall(r"^\| `plugin_opt_(\w+)` \|", text_of("docs/mosquitto.md"), re.MULTILINE)
    assert set(table) == known
    assert len(table) == len(known)
    for name in ("docs", "examples", "README.md"):
        for path in files(name):
            assert set(re.findall(r"plugin_opt_(\w+)", path.read_text("utf-8"))) <= known, path


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", text_of("docs/mosquitto.md")))
    there = {
        name
        for path in files("tests")
        if path.suffix == ".py"
        for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
    }
    assert len(named) > 10
    assert named <= there


def test_every_reason_of_a_refusal_is_told() -> None:
    told = set(CODE.findall(text_of("docs/security.md")))
    assert {str(reason) for reason in DenyReason} <= told


def test_every_oauth_error_is_told_with_its_status() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| (\d{3}) \|", text_of("docs/security.md"), re.MULTILINE))
    assert told == {error: str(status) for error, status in STATUS.items()}


# The files


def files(*names: str) -> list[Path]:
    """Files that are, or are about to be, in the repository: at least one."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *names],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode != 0:
        pytest.skip("not a git work tree")
    found = [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]
    assert found, names
    return found


def anchors(path: Path) -> set[str]:
    """The anchors that a reader's browser finds, made as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE):
        kept = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(kept.replace(" ", "-"))
    return found


def test_every_link_between_documents_leads_somewhere() -> None:
    for path in files("*.md"):
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            to = (path.parent / name).resolve() if name else path
            assert to.exists(), f"{path.name}: {target}"
            if anchor:
                assert anchor in anchors(to), f"{path.name}: {target}"


def test_every_document_is_linked_from_the_readme() -> None:
    readme = text_of("README.md")
    for path in files("docs/*.md"):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith("docs/adr/"):
            assert f"({name}" in readme, name


def test_no_file_names_the_machine_it_was_made_on_or_a_place_to_download_packages_from() -> None:
    # Written so that this file does not find itself.
    place = re.compile(
        r"(?<![\w.])/(?:(?:work|root|Users)/|home/(?!me/))\w"
        r"|pypi[.]org|python[h]osted|npmjs[.]com|crates[.]io"
    )
    assert place.search(" /" + "root/x")
    for path in files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        assert place.findall(text) == [], path.relative_to(ROOT)


# The examples


def test_the_readmes_example_is_the_file() -> None:
    blocks = re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", text_of("README.md"), re.DOTALL)
    assert [name for name, _ in blocks] == ["examples/paho_device.py"]
    for name, block in blocks:
        head, found, rest = text_of(name).partition(block)
        assert found, f"README.md has another {name}"
        assert rest == ""
        assert all(line.startswith(("#", '"""')) for line in head.splitlines() if line)


def test_the_example_for_a_foreign_issuer_is_accepted_and_does_what_it_says() -> None:
    settings = load(ROOT / "examples/keyfob-foreign-issuer.toml")
    (issuer, binding), *others = bindings(settings).items()
    assert others == []
    key = SigningKey.generate("RS256")
    now = 1_800_000_000
    # As Keycloak makes them for a client with a service account.
    claims = {
        "iss": issuer,
        "aud": ["mqtt", "account"],
        "sub": "5c8b1f0e-3f7e-4e0a-8f0c-2f7f3f2d9a11",
        "azp": "thermometer-7",
        "client_id": "thermometer-7",
        "typ": "Bearer",
        "exp": now + 300,
        "iat": now,
        "jti": "trrtcc:0a2b",
        "scope": "mqtt.connect email profile",
        "realm_access": {"roles": ["default-roles-iot", "sensor"]},
    }
    token = key.sign(claims, typ="JWT")
    keys = {issuer: KeySet.from_jwks({"keys": [key.public_jwk()]})}
    verified = verify(token, {issuer: binding.trusted}, keys, now)
    assert isinstance(verified, VerifiedToken)
    assert verified.device == "thermometer-7"
    rules = binding.policy.permissions(verified.claims, verified.device).permissions.rules
    assert {str(rule.filter) for rule in rules} == {
        "devices/thermometer-7/#",
        "commands/thermometer-7/#",
    }
