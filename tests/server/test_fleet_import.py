# SPDX-License-Identifier: Apache-2.0
"""Importing devices: every row once or rejected, every secret known, in bounded memory."""

from __future__ import annotations

import csv
import io
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfob.errors import ConfigError, ConflictError
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.client_metadata import ClientMetadata
from keyfob.server.credentials import verify_secret
from keyfob.server.fleet import EVERY_DEVICE
from keyfob.server.fleet_import import ImportOutcome
from keyfob.server.fleet_rows import Format, RowReader, header, written
from keyfob.server.private_file import PrivateFile
from keyfob.server.register import Register
from keyfob.server.wishes import DeviceWish
from keyfob.tokens.sign import SigningKey
from tests.server.assertions import jwks_of

STRONG = "Zq8x-41kd.LLqp_02mvnw73hT.beuX9e"
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,20}", fullmatch=True).filter(
    lambda name: not name.startswith(("auto-", "kfs_"))
)
GROUPS = ("a", "b.c", "d~e")
ROWS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"device": NAMES},
    optional={
        "groups": st.lists(st.sampled_from(GROUPS), unique=True),
        "labels": st.dictionaries(
            st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,9}", fullmatch=True).filter(
                lambda key: not key.startswith(("kfs_", "eyJ"))
            ),
            st.sampled_from(["", "x", "a b", "http://h:1/@+-_~", "0"]),
            max_size=4,
        ),
        "publish": st.lists(st.sampled_from(["p/{device}/#", "a b/+", "ü"]), max_size=3),
        "subscribe": st.lists(st.sampled_from(["{device}", "#", "$share/g/x"]), max_size=3),
        "scopes": st.lists(st.sampled_from(["own", 'a,"b', "{device}", "x;y=z"]), max_size=3).map(
            lambda scopes: [scope for scope in scopes if '"' not in scope]
        ),
        "lifetime": st.none() | st.integers(1, 86_400),
        "state": st.sampled_from(["pending", "active", "disabled"]),
    },
)


def load(
    register: Register,
    text: str,
    folder: Path,
    form: Format = "csv",
    *,
    secrets: str | None = "secrets.csv",
    **more: Any,
) -> ImportOutcome:
    """Import a text; the files go to a folder."""
    reader = RowReader(io.BytesIO(text.encode("utf-8", "surrogateescape")), form)
    with PrivateFile(folder / "rejects.csv") as rejects:
        if secrets is None:
            return register.fleet.import_devices(reader, rejects=rejects, secrets=None, **more)
        with PrivateFile(folder / secrets) as made:
            return register.fleet.import_devices(reader, rejects=rejects, secrets=made, **more)


def exported(register: Register, form: Format) -> str:
    pages = register.fleet.pages(EVERY_DEVICE)
    return header(form) + "".join(written(page, form) for page in pages)


def rejected(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "rejects.csv").read_text(encoding="utf-8").splitlines()))


def secrets_in(path: Path) -> dict[str, str]:
    rows = [
        (row["device"], row["secret"])
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    ]
    assert len(dict(rows)) == len(rows), "a device has two secrets"
    return dict(rows)


def fleet(folder: Path) -> Register:
    register = Register.open(folder / "register.db")
    for group in GROUPS:
        register.fleet.add_group(group)
    return register


@settings(max_examples=40, deadline=None)
@given(
    st.lists(ROWS, unique_by=lambda row: str(row["device"]), max_size=12),
    st.sampled_from(["csv", "jsonl"]),
)
def test_what_is_exported_and_imported_is_the_same(
    rows: list[dict[str, Any]], form: Format
) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        with fleet(Path(one)) as register:
            text = "".join(json.dumps(row) + "\n" for row in rows)
            assert load(register, text, Path(one), "jsonl").registered == len(rows)
            before = exported(register, form)
        with fleet(Path(other)) as register:
            assert load(register, before, Path(other), form).rejected == 0
            assert exported(register, form) == before


def test_a_row_that_cannot_be_is_rejected_with_its_line_and_reason_and_the_rest_is_loaded(
    register: Register, tmp_path: Path
) -> None:
    register.add_application("app")
    register.add_device("taken")
    rows = [
        ("good1,,,", ""),
        ("a b,,,", "config_invalid"),
        ("taken,,,", "conflict"),
        ("app,,,", "conflict"),
        ("good1,,,", "conflict"),
        ("dev1,nope,,", "not_found"),
        ("dev1,,0,", "config_invalid"),
        ("dev1,,soon,", "config_invalid"),
        ("dev1,,999999,", "config_invalid"),
        ("dev1,,,too-short", "config_invalid"),
        ("dev1,,,passwordpasswordpasswordpassword", "config_invalid"),
        (f"dev1,,,v1$sha256${'0' * 64}", "config_invalid"),
        ("dev1,,", "config_invalid"),
        ("dev1,,,,", "config_invalid"),
        ('"dev1,,,', "config_invalid"),
        ('",,,', "config_invalid"),
        ("\udcff,,,", "config_invalid"),
        ("", ""),
        ('"good2",,60,', ""),
        (f"good3,,,{STRONG}", ""),
    ]
    text = "device,groups,lifetime,secret\r\n" + "".join(f"{row}\r\n" for row, _ in rows)
    outcome = load(register, text, tmp_path)
    wrong = [(str(line), code) for line, (_, code) in enumerate(rows, start=2) if code]
    assert (outcome.registered, outcome.rejected) == (3, len(wrong))
    assert [(row["row"], row["code"]) for row in rejected(tmp_path)] == wrong
    assert "password" not in (tmp_path / "rejects.csv").read_text()
    assert set(secrets_in(tmp_path / "secrets.csv")) == {"good1", "good2"}
    assert [device.id for device in register.list_devices()] == ["good1", "good2", "good3", "taken"]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '"dev1"',
        "{}",
        '{"device": 7}',
        '{"device": "dev1", "no-such": 1}',
        '{"device": "dev1", "labels": {"a": "b;c"}}',
        '{"device": "dev1", "labels": {"": "b"}}',
        '{"device": "dev1", "publish": ["a/#/b"]}',
        '{"device": "dev1", "publish": ["{claim:x}"]}',
        '{"device": "dev1", "scopes": ["keyfob.admin"]}',
        '{"device": "dev1", "groups": ["a b"]}',
        '{"device": "dev1", "state": "enabled"}',
        '{"device": "dev1", "device": "dev2"}',
        '{"device": "dev1", "groups": [], "groups": []}',
        '{"device": "dev1", "\\u0064evice": "dev2"}',
        '{"device": "dev1", "labels": {"a": "b", "a": "c"}}',
        '{"device": "dev1", "labels": {"a": "b"}, "labels": {}}',
        '{"device": "dev1", "labels": {"a": "b", "\\u0061": "c"}}',
        '{"device": "dev1", "jwks": {"keys": [], "keys": []}}',
        '{"device": "dev1", "jwks": {}}',
        '{"device": "dev1", "jwks": "x"}',
        '{"device": "dev1", "jwks": null}',
        '{"device": "dev1", "metadata": null}',
        '{"device": "dev1", "metadata": []}',
        '{"device": "dev1", "metadata": {"no_such": true}}',
        '{"device": "dev1", "metadata": {"tls_client_auth_san_dns": "a b"}}',
        '{"device":"d", "metadata": {"tls_client_auth_san_dns":"a","tls_client_auth_san_ip":"::"}}',
        '{"device": "dev1", "metadata": {"tls_client_certificate_thumbprints": ["short"]}}',
        '{"device": "dev1", "metadata": {"access_token_confirmation": "jwk"}}',
        '{"device": "dev1", "metadata": {"may_act_for": ["*"]}}',
        '{"device": "d", "metadata": {"access_token_format": "", "access_token_format": "jwt"}}',
        '{"device": "dev1", "secret": "' + "x" * 300 + '"}',
        '{"device": "\\ud800"}',
    ],
)
def test_a_line_of_json_that_is_no_device_is_rejected(
    register: Register, tmp_path: Path, line: str
) -> None:
    outcome = load(register, f'{line}\n{{"device": "good"}}\n', tmp_path, "jsonl")
    assert (outcome.registered, outcome.rejected) == (1, 1)
    assert rejected(tmp_path)[0]["row"] == "1"


def test_a_member_that_looks_repeated_and_is_not_is_loaded(
    register: Register, tmp_path: Path
) -> None:
    register.fleet.add_group("device")
    text = (
        '{"device": "dev1", "labels": {"a": "a", "device": "state"}, "groups": ["device"]}\n'
        '{"device": "device", "labels": {"b": ""}, "state": "pending"}\n'
    )
    assert load(register, text, tmp_path, "jsonl").registered == 2
    assert register.show_device("dev1").labels == {"a": "a", "device": "state"}


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["state", "secret", "scopes"]), st.just([])),
    st.dictionaries(st.sampled_from(["device", "a", "b", "{", ":"]), st.sampled_from(["a", "{"])),
    st.data(),
)
def test_every_member_that_stands_twice_is_found(
    members: dict[str, Any], labels: dict[str, str], data: st.DataObject
) -> None:
    """Suspecting too much is allowed, and is looked at again; too little is not."""
    row = {"device": "dev1", "labels": labels, **dict.fromkeys(members, "x")}
    if "scopes" in row:
        row["scopes"] = []
    pairs = [f"{json.dumps(key)}:{json.dumps(value)}" for key, value in row.items()]
    twice = data.draw(st.sampled_from(pairs))
    spaced = data.draw(st.sampled_from([", ", ",", " ,\t"]))
    line = "{" + spaced.join([*pairs, twice]) + "}"
    ((_, read),) = list(RowReader(io.BytesIO(line.encode()), "jsonl").rows())
    assert isinstance(read, ConfigError)


def test_devices_with_keys_are_imported_and_exported_as_they_are(
    register: Register, tmp_path: Path
) -> None:
    keys = json.loads(jwks_of(SigningKey.generate()))
    text = json.dumps({"device": "keys", "jwks": keys}) + "\n"
    text += json.dumps({"device": "both", "jwks": keys, "secret": STRONG}) + "\n"
    assert load(register, text, tmp_path, "jsonl", secrets=None).registered == 2
    for name, has_secret in (("keys", False), ("both", True)):
        device = register.show_device(name)
        assert (device.has_secret, len(device.keys)) == (has_secret, 1)
    listed = register.list_devices()
    assert listed == (register.show_device("both"), register.show_device("keys"))
    for form in ("csv", "jsonl"):
        written = exported(register, form)
        assert STRONG not in written
        folder = tmp_path / form
        folder.mkdir()
        with fleet(folder) as other:
            assert load(other, written, folder, form, secrets=None).registered == 2
            assert exported(other, form) == written
    private = '{"device": "dev1", "jwks": {"kty": "oct", "k": "c2VjcmV0LWtleQ"}}\n'
    (tmp_path / "private").mkdir()
    assert load(register, private, tmp_path / "private", "jsonl", secrets=None).rejected == 1
    assert "c2VjcmV0" not in (tmp_path / "private" / "rejects.csv").read_text()


def test_devices_with_certificates_are_imported_and_exported_as_they_are(
    register: Register, tmp_path: Path
) -> None:
    """Nobody gets a secret by the way, and no binding is lost."""
    name = CertificateIdentity(san_ip="2001:DB8::1")
    register.add_device(DeviceWish("name", certificate=name, certificate_bound=True))
    pins = CertificateIdentity(thumbprints=("A" * 43, "B" * 43))
    register.add_device(DeviceWish("pins", certificate=pins))
    register.add_device(
        DeviceWish("secret", metadata=ClientMetadata(dpop_bound_access_tokens=True))
    )
    listed = register.list_devices()
    for form in ("csv", "jsonl"):
        written = exported(register, form)
        folder = tmp_path / form
        folder.mkdir()
        with fleet(folder) as other:
            assert load(other, written, folder, form).registered == 3
            assert exported(other, form) == written
            assert list(secrets_in(folder / "secrets.csv")) == ["secret"]
            for device in listed:
                found = other.show_device(device.id)
                assert (found.has_secret, found.metadata) == (device.has_secret, device.metadata)
                assert found.certificate_bound == (device.id == "name")


def test_of_a_name_that_stands_twice_the_first_counts_and_so_does_its_secret(
    register: Register, tmp_path: Path
) -> None:
    load(register, f"device,secret\ndev1,{STRONG}\ndev1,\ndev2,\ndev2,{STRONG}\n", tmp_path)
    made = secrets_in(tmp_path / "secrets.csv")
    assert list(made) == ["dev2"]
    for name, secret in (("dev1", STRONG), ("dev2", made["dev2"])):
        stored = register._store.secret(name, now=0)
        assert stored is not None
        assert verify_secret(secret, stored.secret_hash)


@pytest.mark.parametrize(
    "text", ["", "name\n", "device,device\n", "device,secret,password\n", "device" + "x" * 70_000]
)
def test_an_input_that_is_none_is_an_error_of_its_own(
    register: Register, tmp_path: Path, text: str
) -> None:
    with pytest.raises(ConfigError):
        load(register, text, tmp_path)
    assert register.list_devices() == ()


def test_a_secret_that_has_to_be_made_needs_a_file(register: Register, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--secrets-out"):
        load(register, "device\ndev1\n", tmp_path, secrets=None)
    assert register.list_devices() == ()
    given_one = load(register, f"device,secret\ndev1,{STRONG}\n", tmp_path, secrets=None)
    assert given_one.registered == 1


def test_a_file_that_holds_secrets_is_never_overwritten(register: Register, tmp_path: Path) -> None:
    load(register, "device\ndev1\n", tmp_path)
    before = (tmp_path / "secrets.csv").read_bytes()
    with pytest.raises(ConflictError):
        load(register, "device\ndev2\n", tmp_path)
    assert (tmp_path / "secrets.csv").read_bytes() == before
    assert [device.id for device in register.list_devices()] == ["dev1"]


def test_the_same_again_does_nothing_twice(register: Register, tmp_path: Path) -> None:
    text = "device\ndev1\nx y\ndev2\n"
    load(register, text, tmp_path)
    before = (tmp_path / "secrets.csv").read_bytes()
    again = load(register, text, tmp_path)
    assert (again.registered, again.before) == (0, 3)
    assert (tmp_path / "secrets.csv").read_bytes() == before
    anew = load(register, text, tmp_path, secrets="other.csv", restart=True)
    assert (anew.registered, anew.rejected) == (0, 3)


def test_what_was_prepared_and_not_committed_is_void(register: Register, tmp_path: Path) -> None:
    """A secret behind the last commit is cut off, and its device gets another."""
    text = "device\n" + "".join(f"dev{number}\n" for number in range(7_000))
    reader = RowReader(io.BytesIO(text.encode()), "csv")

    def stop(done: int) -> None:
        if done > 30_000:
            raise KeyboardInterrupt

    with (
        PrivateFile(tmp_path / "rejects.csv") as rejects,
        PrivateFile(tmp_path / "secrets.csv") as secrets,
        pytest.raises(KeyboardInterrupt),
    ):
        register.fleet.import_devices(reader, rejects=rejects, secrets=secrets, on_progress=stop)
    with (tmp_path / "secrets.csv").open("a", encoding="utf-8") as file:
        file.write("dev6999,kfs_void\n")
    outcome = load(register, text, tmp_path)
    assert (outcome.before, outcome.registered) == (5_000, 2_000)
    check_every_secret(tmp_path / "secrets.csv", register)


@pytest.mark.parametrize("secrets", ["other.csv", None])
def test_beginning_anew_leaves_no_void_secret_in_the_file_from_before(
    register: Register, tmp_path: Path, secrets: str | None
) -> None:
    text = "device,secret\n" + "".join(f"dev{number},\n" for number in range(7_000))
    reader = RowReader(io.BytesIO(text.encode()), "csv")

    def stop(done: int) -> None:
        if done > 40_000:
            raise KeyboardInterrupt

    with (
        PrivateFile(tmp_path / "rejects.csv") as rejects,
        PrivateFile(tmp_path / "secrets.csv") as made,
        pytest.raises(KeyboardInterrupt),
    ):
        register.fleet.import_devices(reader, rejects=rejects, secrets=made, on_progress=stop)
    held = (tmp_path / "secrets.csv").read_bytes()
    with (tmp_path / "secrets.csv").open("a", encoding="utf-8") as file:
        file.write("dev6999,kfs_void\n")
    if secrets is None:
        with pytest.raises(ConfigError):  # the rest needs secrets, and there is no file for them
            load(register, text, tmp_path, secrets=None, restart=True)
    else:
        anew = load(register, text, tmp_path, secrets=secrets, restart=True)
        assert (anew.registered, anew.rejected) == (2_000, 5_000)
        both = secrets_in(tmp_path / "secrets.csv") | secrets_in(tmp_path / secrets)
        assert len(both) == 7_000
    assert (tmp_path / "secrets.csv").read_bytes() == held


def test_an_import_that_began_goes_on_with_its_own_input_and_file_only(
    register: Register, tmp_path: Path
) -> None:
    rows = "".join(f"device-number-{number}\n" for number in range(7_000))
    reader = RowReader(io.BytesIO(f"device\n{rows}".encode()), "csv")

    def stop(done: int) -> None:
        if done > 60_000:
            raise KeyboardInterrupt

    with (
        PrivateFile(tmp_path / "rejects.csv") as rejects,
        PrivateFile(tmp_path / "secrets.csv") as secrets,
        pytest.raises(KeyboardInterrupt),
    ):
        register.fleet.import_devices(reader, rejects=rejects, secrets=secrets, on_progress=stop)
    with pytest.raises(ConfigError, match="had begun"):
        load(register, f"device\n{rows}", tmp_path, secrets="other.csv")
    changed = rows.replace("number-4000\n", "number-x\n")
    with pytest.raises(ConfigError, match="others now"):
        load(register, f"device\n{changed}", tmp_path)
    assert load(register, f"device\n{rows}", tmp_path).registered == 2_000
    check_every_secret(tmp_path / "secrets.csv", register)


def check_every_secret(path: Path, register: Register) -> None:
    """Every device has one secret in the file, and it is the one that proves it."""
    secrets = secrets_in(path)
    count = 0
    for page in register.fleet.pages(EVERY_DEVICE):
        for row in page:
            stored = register._store.secret(row.device_id, now=0)
            assert stored is not None
            assert verify_secret(secrets[row.device_id], stored.secret_hash)
            count += 1
    assert count == len(secrets)


# Imports with small transactions, so that there are many places to be killed at.
_WORK = """
import sys
from pathlib import Path
from keyfob.server import fleet_import
from keyfob.server.fleet_rows import RowReader
from keyfob.server.private_file import PrivateFile
from keyfob.server.register import Register

fleet_import.DeviceImport.__init__.__kwdefaults__["chunk"] = 20
folder = Path(sys.argv[1])
with Register.open(folder / "register.db") as register, (folder / "in.csv").open("rb") as file, \\
        PrivateFile(folder / "rejects.csv") as rejects, PrivateFile(folder / "s.csv") as secrets:
    print("began", flush=True)
    register.fleet.import_devices(RowReader(file, "csv"), rejects=rejects, secrets=secrets)
print("ended", flush=True)
"""


def test_kill_9_in_a_loop_loses_and_doubles_no_device_and_no_secret(tmp_path: Path) -> None:
    size, kills = 15_000, 0
    rows = [f"dev{number}" if number % 10 else f"no name {number}" for number in range(size)]
    (tmp_path / "in.csv").write_text("device\n" + "".join(f"{row}\n" for row in rows))
    for _ in range(100):
        process = subprocess.Popen(
            [sys.executable, "-c", _WORK, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "began\n"
        if kills < 12:
            time.sleep(random.uniform(0, 0.08))
            process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate(timeout=60)
        if rest == "ended\n":
            break
        kills += 1
        assert process.returncode == -signal.SIGKILL
    assert kills > 3
    with Register.open(tmp_path / "register.db") as register:
        check_every_secret(tmp_path / "s.csv", register)
        found = {row.device_id for page in register.fleet.pages(EVERY_DEVICE) for row in page}
    assert found == {row for row in rows if " " not in row}
    assert [int(row["row"]) for row in rejected(tmp_path)] == list(range(2, size + 2, 10))


_MEASURED = """
import resource, sys
from pathlib import Path
from keyfob.server.fleet_rows import RowReader
from keyfob.server.private_file import PrivateFile
from keyfob.server.register import Register

folder, size = Path(sys.argv[1]), int(sys.argv[2])
(folder / "in.csv").write_text("device\\n" + "".join(f"dev{n:07}\\n" for n in range(20_000)))
with (folder / "in.csv").open("a") as file:
    for number in range(20_000, size):
        file.write(f"dev{number:07}\\n")
with Register.open(folder / "register.db") as register, (folder / "in.csv").open("rb") as file, \\
        PrivateFile(folder / "rejects.csv") as rejects, PrivateFile(folder / "s.csv") as secrets:
    done = register.fleet.import_devices(RowReader(file, "csv"), rejects=rejects, secrets=secrets)
assert done.registered == size
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_ten_times_the_devices_need_the_same_memory(tmp_path: Path) -> None:
    """Ten times as many may cost a tenth more; the list of them would cost several times that."""
    peaks = []
    for size in (20_000, 200_000):
        folder = tmp_path / str(size)
        folder.mkdir()
        command = [sys.executable, "-c", _MEASURED, str(folder), str(size)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] < peaks[0] + 16, peaks
