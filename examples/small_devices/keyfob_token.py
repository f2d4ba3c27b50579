# SPDX-License-Identifier: Apache-2.0
"""A good access token on a small device: MicroPython 1.23 or later, nothing else.

    tokens = Tokens("as.example.com", "dev1", secret, ca)
    tokens.get()    # a token that is good now, renewed in time; TokenError where there is none

``secret`` is what the device was registered with, ``ca`` the authority's certificate in DER, which
alone is trusted. Whoever calls ``get`` waits for the network when a token is due, some 10 seconds
at most; a server that is away is asked again after a while that grows, and until then the token
that is there is used for as long as it lives.
"""

import binascii
import json
import random
import socket
import time

try:
    import ssl
except ImportError:  # some builds have only the C module that ssl is made of
    import tls as ssl

_TIMEOUT = 10  # seconds for each read and write
_MOST_BODY = 8192  # bytes
_MOST_TOKEN = 4096  # bytes: what the broker takes, and this device has memory for
_LONGEST = 5 * 86400  # seconds: ticks_ms can count no more than six days
_SOONEST, _LATEST = 1, 300  # seconds between questions to a server that is away
_REFUSED = 900  # and to one that said no
_LONGEST_WAIT = 3600  # whatever the server says


class TokenError(OSError):
    """There is no token to show. The device waits, and asks again."""


class Tokens:
    """The tokens of one device, by client_credentials (RFC 6749 section 4.4)."""

    def __init__(self, host, client_id, secret, ca, *, port=443, path="/oauth2/token", scope=None):
        self._host, self._port, self._path = host, port, path
        # RFC 6749 section 2.3.1: each is form-encoded before it is put into HTTP Basic.
        both = _quoted(client_id) + ":" + _quoted(secret)
        self._basic = binascii.b2a_base64(both.encode()).decode().strip()
        self._body = "grant_type=client_credentials"
        if scope:
            self._body += "&scope=" + _quoted(scope)
        self.context = _trusting(ca)
        self._token = None
        self._came = self._lives = self._due = 0  # milliseconds: when, how long, at which age
        self._asked = self._wait = self._failures = 0
        self._first = True  # or what happened may have had all devices ask at once

    def get(self):
        """Return a token that is good now. Ask at least once a day, also when nothing is sent."""
        now = time.ticks_ms()
        if self._token and time.ticks_diff(now, self._came) >= self._lives:
            self._token, self._first = None, True
        if self._is_due(now) and not self._waits(now):
            self._renew(now)
        if self._token is None:
            raise TokenError("no token yet")
        return self._token

    def refused(self):
        """The broker refused the token: one that is older than half a minute is renewed once."""
        if self._token and time.ticks_diff(time.ticks_ms(), self._came) > 30000:
            self._due, self._first = 0, True

    def _is_due(self, now):
        return self._token is None or time.ticks_diff(now, self._came) >= self._due

    def _waits(self, now):
        # With nothing to wait for, _asked may be so long ago that ticks_diff tells nonsense.
        return self._wait and time.ticks_diff(now, self._asked) < self._wait

    def _renew(self, now):
        self._asked = now
        try:
            token, seconds = self._fetch()
        except RefusedError as refused:
            self._wait, self._first = 1000 * _REFUSED, True
            print("token refused:", refused)
        except Exception as error:  # also what a broken server makes json and this module raise
            most = min(_LATEST, _SOONEST << min(self._failures, 9))
            self._failures, self._first = self._failures + 1, True
            drawn = most * (0.1 + 0.9 * random.random())
            self._wait = int(1000 * max(drawn, getattr(error, "after", 0)))
            print("no token:", error)
        else:
            self._keep(token, seconds, now)

    def _keep(self, token, seconds, now):
        # Not the token's own exp: a device's clock is often wrong, its ticks are not.
        self._failures = self._wait = 0
        self._token, self._came = token, now
        leeway = min(max(seconds / 10, 10), 300, seconds / 2)
        latest = seconds - leeway
        # A fleet that asked together must not renew together (docs/device-tools.md).
        earliest = latest * (0.05 if self._first else 0.75)
        self._first = False
        self._due = int(1000 * (earliest + (latest - earliest) * random.random()))
        self._lives = int(1000 * (seconds - min(seconds / 50, 5)))

    def _fetch(self):
        address = socket.getaddrinfo(self._host, self._port, 0, socket.SOCK_STREAM)[0][-1]
        raw = socket.socket()
        try:
            raw.settimeout(_TIMEOUT)
            raw.connect(address)
            secure = self.context.wrap_socket(raw, server_hostname=self._host)
            secure.write(self._request())
            return _token_of(_read(secure))
        finally:
            raw.close()

    def _request(self):
        # HTTP/1.0: no chunks, and no connection that stays.
        lines = (
            "POST " + self._path + " HTTP/1.0",
            "Host: " + self._host,
            "Authorization: Basic " + self._basic,
            "Content-Type: application/x-www-form-urlencoded",
            "Content-Length: " + str(len(self._body)),
            "",
            self._body,
        )
        return "\r\n".join(lines).encode()


class RefusedError(Exception):
    """The authorization server said no: asking again soon changes nothing."""


class AwayError(Exception):
    """The authorization server cannot now; ``after`` so many seconds it may."""

    def __init__(self, status, after):
        super().__init__("HTTP " + str(status))
        self.after = after


def _trusting(ca):
    """Return what TLS trusts this authority alone by; the server's name is checked, too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED
    if ssl.__name__ == "tls":
        context.load_verify_locations(ca)
    else:
        context.load_verify_locations(cadata=ca)
    return context


def _read(stream):
    """Return a good answer's body; a redirect is as bad as others, and never followed."""
    begun = time.ticks_ms()
    line = stream.readline(1024)
    status, length, after = int(line.split(b" ", 2)[1]), None, 0
    for _ in range(64):
        if time.ticks_diff(time.ticks_ms(), begun) > 1000 * _TIMEOUT:
            raise OSError("the answer takes too long")
        name, _, value = stream.readline(1024).strip().partition(b":")
        if not name:
            break
        if name.lower() == b"content-length":
            length = int(value)
        elif name.lower() == b"retry-after":
            after = _seconds(value.strip())
    if status in (400, 401, 403):
        raise RefusedError(status)
    if status != 200:
        raise AwayError(status, after)
    if length is None or not 0 <= length <= _MOST_BODY:
        raise OSError("an answer without an end, or too long")
    return stream.read(length)


def _seconds(value):
    """Return what Retry-After says (RFC 9110 section 10.2.3); a date would need a right clock."""
    return min(int(value), _LONGEST_WAIT) if value.isdigit() else 0


def _token_of(body):
    """Return the token and its lifetime in seconds (RFC 6749 section 5.1)."""
    said = json.loads(body)
    token, seconds = said["access_token"], said.get("expires_in", 3600)
    if said["token_type"].lower() != "bearer":
        raise ValueError("no bearer token")
    if not isinstance(token, str) or not 0 < len(token) <= _MOST_TOKEN:
        raise ValueError("no token, or one of over %d bytes" % _MOST_TOKEN)
    if not isinstance(seconds, int) or not 1 <= seconds <= _LONGEST:
        raise ValueError("no lifetime that could be meant")
    return token, seconds


def _quoted(text):
    """Form-encode a text."""
    plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
    return "".join(chr(c) if c in plain else "%{:02X}".format(c) for c in text.encode())
