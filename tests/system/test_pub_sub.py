# SPDX-License-Identifier: Apache-2.0
"""`keyfob pub` and `keyfob sub` at a real broker, beside Mosquitto's own programs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from keyfob.cli.main import run
from keyfob.cli.server_database import server_database
from keyfob.server.register import Register
from keyfob.server.wishes import DeviceWish, Rights
from tests.cli.commands import KEYFOB, started
from tests.running import PATIENCE, Installation, until

SENDER, READER, OTHER = "ps-sender", "ps-reader", "ps-other"
SHORT, RENEWED, LIFETIME = "ps-short", "ps-renewed", 5
FORMAT = (
    r"%t|%p|%q|%r|%m|%l|%x|%X|%C|%D|%R|%F|%P|%10t|%-10t|%.2t|%5.1t|%012p|%-12p|%3p|%8x|%-9X|%04l"
    r"|%-4l|%5m|%8C|%-12C|%.3C|%3F|%-3F|%03A|%4S|\\\t\0%%@@"
)
PAYLOADS = {
    "text": b"hello world",
    "binary": bytes(range(256)),
    "json": b'{"a": 1.50, "b": [1e3, null, "\xc3\xa9\\u0007"], "a": {"x": []}, "c": -7}',
    "number": b" 0.30000000000000004 ",
    "lines": b"a\nb\r\n",
}


@pytest.fixture(scope="module")
def secrets(running: Installation) -> dict[str, str]:
    """Devices, and their secrets."""
    made = {}
    with Register.open(server_database(running.settings)) as register:
        for device in (SENDER, READER, OTHER, SHORT, RENEWED):
            lifetime = LIFETIME if device in {SHORT, RENEWED} else None
            rights = Rights(publish=("ps/#",), subscribe=("ps/#",))
            wish = DeviceWish(device, rights=rights, lifetime=lifetime)
            made[device] = register.add_device(wish).secret
    return made


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")


class Programs:
    """Both families of programs, as devices of one installation."""

    def __init__(
        self,
        running: Installation,
        secrets: dict[str, str],
        folder: Path,
        capture: pytest.CaptureFixture[bytes],
    ) -> None:
        self.running = running
        self.secrets = secrets
        self.folder = folder
        self.capture = capture

    def who(self, device: str) -> tuple[str, ...]:
        file = self.folder / f"{device}.secret"
        file.write_text(self.secrets[device], encoding="utf-8")
        return ("--client-id", device, "--client-secret", f"file:{file}", "--dir", self.directory)

    @property
    def directory(self) -> str:
        return str(self.running.directory)

    def ours(self, command: str, device: str, *arguments: str) -> tuple[int, bytes, str]:
        """Run one of ours in this process: its code, output and errors."""
        self.capture.readouterr()
        code = run([command, *self.who(device), *arguments])
        out, err = self.capture.readouterr()
        return code, out, err.decode()

    def publish(self, topic: str, *arguments: str) -> None:
        code, _, err = self.ours("pub", SENDER, "-t", topic, "-q", "1", *arguments)
        assert code == 0, err

    def theirs(self, *arguments: str) -> tuple[int, bytes]:
        """Run mosquitto_sub: its code and output."""
        token = self.running.token(OTHER, self.secrets[OTHER])
        command = ["mosquitto_sub", "-V", "mqttv5", "-h", "localhost", "-p", str(self.running.port)]
        command += ["--cafile", self.running.ca, "-i", OTHER, "-u", OTHER, "-P", token]
        done = subprocess.run([*command, *arguments], capture_output=True, timeout=30, check=False)
        return done.returncode, done.stdout


@pytest.fixture
def programs(
    running: Installation,
    secrets: dict[str, str],
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> Programs:
    return Programs(running, secrets, tmp_path, capfdbinary)


@pytest.fixture(scope="module")
def retained(
    running: Installation, secrets: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Messages that whoever subscribes gets at once, with properties and without."""
    folder = tmp_path_factory.mktemp("payloads")
    for name, payload in PAYLOADS.items():
        file = folder / name
        file.write_bytes(payload)
        who = ("--client-id", SENDER, "--client-secret", "env:PS_SECRET")
        said = ("-t", f"ps/kept/{name}", "-f", str(file), "-r", "-q", "1")
        pairs = (("content-type", "text/é"), ("response-topic", "r"), ("correlation-data", "c d"))
        properties = [word for pair in pairs for word in ("-D", "publish", *pair)]
        for value in ("v", "w"):
            properties += ["-D", "publish", "user-property", "k", value]
        properties += ["-D", "publish", "payload-format-indicator", "0"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PS_SECRET", secrets[SENDER])
            words = ["pub", *who, "--dir", str(running.directory), *said]
            assert run([*words, *(properties if name in {"json", "lines"} else ())]) == 0


@pytest.mark.usefixtures("retained")
@pytest.mark.parametrize(
    "how",
    [
        ("-F", FORMAT, "-q", "1"),
        ("-F", FORMAT, "-V", "mqttv311"),
        ("-F", "%J", "-D", "subscribe", "subscription-identifier", "7"),
        ("-F", "%J", "--pretty", "-q", "2"),
        ("-v",),
        ("-N", "-T", "ps/kept/binary"),
        ("--retained-only", "-F", "%t", "-W", "1"),
        ("-R", "-W", "1"),
    ],
    ids=["format", "format-3.1.1", "json", "pretty", "verbose", "no-newline", "retained-only", "R"],
)
def test_what_is_printed_is_what_mosquitto_sub_prints(
    programs: Programs, how: tuple[str, ...]
) -> None:
    wanted = len(PAYLOADS) - ("-T" in how)
    count = () if "-W" in how else ("-C", str(wanted))
    theirs = programs.theirs("-t", "ps/kept/#", *how, *count)
    code, out, _ = programs.ours("sub", READER, "-t", "ps/kept/#", *how, *count)
    assert (code, without_time(out)) == (theirs[0], without_time(theirs[1]))
    assert out or "-R" in how


def without_time(text: bytes) -> bytes:
    return re.sub(rb'"tst":\s*"[^"]*"', b'"tst":""', text)


def test_what_is_retained_is_removed_where_that_is_wished(programs: Programs) -> None:
    programs.publish("ps/gone/a", "-m", "x", "-r")
    programs.publish("ps/gone/b", "-m", "y", "-r")
    keep = ("-T", "ps/gone/b", "-C", "1")
    code, out, _ = programs.ours("sub", READER, "-t", "ps/gone/#", "--remove-retained", *keep)
    assert (code, out) == (0, b"x\n")
    code, out, _ = programs.ours("sub", READER, "-t", "ps/gone/#", "-W", "1")
    assert (code, out) == (27, b"y\n")


@pytest.mark.parametrize(
    "way",
    [(), ("--carry", "auth:OAUTH2-JWT"), ("-V", "311"), ("--carry", "username")],
    ids=["password", "enhanced", "3.1.1", "username"],
)
def test_a_message_arrives_however_the_token_travels(
    programs: Programs, way: tuple[str, ...]
) -> None:
    programs.publish("ps/way", "-m", "x", "-r", *way)
    assert programs.ours("sub", READER, "-t", "ps/way", "-C", "1", *way)[:2] == (0, b"x\n")


def test_a_token_that_stands_in_a_file_is_shown_with_a_profiles_broker(
    running: Installation, programs: Programs, tmp_path: Path
) -> None:
    (tmp_path / "keyfob").mkdir()
    (tmp_path / "keyfob/profiles.toml").write_text(
        f'[there]\nissuer = "https://localhost:1"\nclient_id = "c"\n'
        f'broker = "mqtts://localhost:{running.port}"\nbroker_ca = "{running.ca}"\n',
        encoding="utf-8",
    )
    file = tmp_path / "token"
    words = ["pub", "--profile", "there", "--token-file", str(file), "-t", "ps/file", "-m", "x"]
    assert run(words) == 2  # there is no file yet
    file.write_text(running.token(SENDER, programs.secrets[SENDER]), encoding="ascii")
    assert run([*words, "-r", "-q", "1"]) == 0
    assert programs.ours("sub", READER, "-t", "ps/file", "-C", "1")[:2] == (0, b"x\n")


def test_lines_are_messages_to_their_last_byte(
    running: Installation, programs: Programs, tmp_path: Path
) -> None:
    sent = [b"one", b"", b"\0\xff\r", *(b"%d" % number for number in range(800)), b"last"]
    reader = [*programs.who(READER), "-t", "ps/lines", "-q", "1", "-F", "%x", "-c"]
    code, _, err = programs.ours("sub", READER, "-t", "ps/lines", "-q", "1", "-c", "-E")
    assert code == 0, err
    output = tmp_path / "lines"
    with started(output, "sub", *reader, "-C", str(len(sent))) as sub:
        command = [*KEYFOB, "pub", *programs.who(SENDER), "-t", "ps/lines", "-q", "1", "-l"]
        done = subprocess.run(command, input=b"\n".join(sent), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert sub.wait() == 0, sub.output()
    assert output.read_text(encoding="ascii").split("\n")[:-1] == [one.hex() for one in sent]


@pytest.mark.parametrize("carry", ["password", "auth:OAUTH2-JWT"])
def test_a_subscriber_and_a_publisher_outlive_their_tokens(
    running: Installation, programs: Programs, tmp_path: Path, carry: str
) -> None:
    output, numbers = tmp_path / "numbers", 0
    renewed = 1

    def shown(device: str) -> int:
        return sum(outcome in {"allowed", "reauthenticated"} for outcome, _ in running.told(device))

    begin = shown(SHORT), shown(RENEWED)
    reader = [*programs.who(SHORT), "-t", "ps/renewed", "-q", "1", "--carry", carry]
    writer = [*programs.who(RENEWED), "-t", "ps/renewed", "-q", "1", "-l", "-i", RENEWED]
    with started(output, "sub", *reader) as sub:
        until("it subscribes", lambda: shown(SHORT) > begin[0], PATIENCE * 2)
        command = [*KEYFOB, "pub", *writer, "--carry", carry]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as pub:
            assert pub.stdin is not None
            assert pub.stderr is not None

            def enough() -> bool:
                nonlocal numbers
                assert pub.stdin is not None
                pub.stdin.write(b"%d\n" % numbers)
                pub.stdin.flush()
                numbers += 1
                both = shown(SHORT) - begin[0], shown(RENEWED) - begin[1]
                return min(both) > renewed

            until("both have shown some tokens", enough, PATIENCE * 2)
            pub.stdin.close()
            said = pub.stderr.read()
            assert pub.wait(PATIENCE) == 0, said
        until("the last one came", lambda: f"{numbers - 1}\n" in sub.output())
        sub.process.send_signal(signal.SIGINT)
        assert sub.wait() == 0, sub.output()
    came = [int(line) for line in output.read_text(encoding="ascii").splitlines()]
    assert sorted(set(came)) == list(range(numbers))  # a QoS 1 message may come twice


def test_a_message_that_is_refused_is_told_in_one_line_and_the_first_of_many_as_it_is_lost(
    programs: Programs,
) -> None:
    def pub(*message: str) -> list[str]:
        done = subprocess.run(
            [*KEYFOB, "pub", *programs.who(SENDER), "-t", "elsewhere", "-q", "1", *message],
            input="a\nb\n", capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0x87
        return done.stderr.splitlines()

    last = "keyfob: the broker refuses elsewhere: not authorized (0x87) (broker_refused)"
    assert pub("-m", "x") == [last]
    assert pub("-l") == ["keyfob: a message is refused, and lost: not authorized (0x87)", last]


def test_what_the_token_does_not_allow_is_told_with_the_brokers_reason(programs: Programs) -> None:
    for command, more in (("pub", ("-m", "x", "-q", "1")), ("sub", ())):
        code, out, err = programs.ours(command, SENDER, "-t", "elsewhere", *more)
        assert (code, out) == (0x87, b"")
        assert "elsewhere" in err
        assert "not authorized (0x87) (broker_refused)" in err
    code, _, err = programs.ours("sub", SENDER, "-t", "elsewhere", "-t", "ps/x", "-E")
    assert code == 0
    assert "refuses elsewhere: not authorized (0x87)" in err
    for version, expected in (("5", 0x87), ("311", 5)):
        said = ("-i", "another", "-V", version)
        code, _, err = programs.ours("pub", SENDER, "-t", "ps/x", "-m", "x", *said)
        assert code == expected
        assert err.count("\n") == 1, err
    code, _, err = programs.ours("pub", SENDER, "-t", "elsewhere", "-nq", "1", "--quiet")
    assert (code, err) == (0x87, "")


# paho leaves a socket to the garbage where the handshake failed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_that_is_not_there_or_not_trusted_is_named(
    running: Installation, programs: Programs
) -> None:
    message = ("-t", "ps/x", "-m", "x")
    code, _, err = programs.ours("pub", SENDER, *message, "-p", "1")
    assert code == 2
    assert "mqtts://localhost:1: Connection refused" in err
    other = "/etc/ssl/certs/ca-certificates.crt"
    code, _, err = programs.ours("pub", SENDER, *message, "--cafile", other)
    assert code == 2
    assert "its certificate is not trusted" in err
    plain = f"mqtt://localhost:{running.port}"
    code, _, err = programs.ours("pub", SENDER, *message, "--broker", plain)
    assert (code, err.count("\n")) == (2, 1), err
    wrong = {**programs.secrets, SENDER: "kfs_wrong"}
    code, _, err = Programs(running, wrong, programs.folder, programs.capture).ours(
        "pub", SENDER, *message
    )
    assert code == 1
    assert "(invalid_client)" in err
    assert "kfs_wrong" not in err


def test_a_reader_that_has_seen_enough_ends_it(programs: Programs, tmp_path: Path) -> None:
    programs.publish("ps/pipe", "-m", "x", "-r")
    reading, writing = os.pipe()
    os.close(reading)
    command = [*KEYFOB, "sub", *programs.who(READER), "-t", "ps/pipe"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
