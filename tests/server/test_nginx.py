# SPDX-License-Identifier: Apache-2.0
"""The server behind a real nginx, as examples/nginx/keyfob.conf sets it up."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.wishes import DeviceWish
from tests.server.client_certificates import Shown, named, signed
from tests.server.mtls_servers import Served, behind_nginx
from tests.server.test_mutual_tls_clients import bound_to

DAY = datetime.timedelta(days=1)
GRANT = {"grant_type": "client_credentials"}
PINNED, NAMED = GRANT | {"client_id": "pinned"}, GRANT | {"client_id": "named"}


@pytest.fixture(scope="module")
def own() -> Shown:
    """A certificate that is signed by itself."""
    return signed(named("device"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, own: Shown) -> Iterator[Served]:
    with behind_nginx(tmp_path_factory.mktemp("nginx")) as served:
        with served.register() as register:
            pins = CertificateIdentity(thumbprints=(own.thumbprint,))
            register.add_device(DeviceWish("pinned", certificate=pins, certificate_bound=True))
            by_name = CertificateIdentity(subject_dn="CN=device")
            register.add_device(DeviceWish("named", certificate=by_name))
        yield served


def shown(certificate: Shown, folder: Path) -> tuple[str, ...]:
    files = certificate.files(folder, "client")
    return ("--cert", files[0], "--key", files[1])


def test_a_certificate_that_is_signed_by_itself_gets_a_token_bound_to_it(
    served: Served, own: Shown, tmp_path: Path
) -> None:
    status, document = served.curl(PINNED, *shown(own, tmp_path))
    assert status == 200, document
    assert bound_to(document["access_token"]) == ("pinned", {"x5t#S256": own.thumbprint})


def test_only_this_one_does(served: Served, own: Shown, tmp_path: Path) -> None:
    for other in (signed(named("device")), signed(named("device"), issuer=served.place.clients)):
        assert served.curl(PINNED, *shown(other, tmp_path))[0] == 401
        assert served.events[-1].reason == "certificate_wrong"
    assert served.curl(PINNED)[0] == 401
    assert served.events[-1].reason == "certificate_missing"


def test_a_name_counts_if_nginx_has_verified_its_authority(
    served: Served, own: Shown, tmp_path: Path
) -> None:
    good = signed(named("device"), issuer=served.place.clients)
    assert served.curl(NAMED, *shown(good, tmp_path))[0] == 200
    stranger = signed(named("strangers"), authority=True)
    for bad in (own, signed(named("device"), issuer=stranger)):
        assert served.curl(NAMED, *shown(bad, tmp_path))[0] == 401
        assert served.events[-1].reason == "certificate_unverified"


FORGED = (
    "X-Client-Cert: {escaped}",
    "x-client-cert: {escaped}",
    "X_Client_Cert: {escaped}",
    "Client-Cert: :{base64}:",
    "X-SSL-Client-Cert: {escaped}",
)


@pytest.mark.parametrize("header", FORGED)
@pytest.mark.parametrize("name", ["pinned", "named"])
def test_a_forged_header_has_no_effect_through_the_proxy(
    served: Served, own: Shown, name: str, header: str, tmp_path: Path
) -> None:
    """The certificate is public: whoever has seen it can write it down."""
    good = own if name == "pinned" else signed(named("device"), issuer=served.place.clients)
    text = header.format(
        escaped=quote(good.pem.decode(), safe=""), base64=base64.b64encode(good.der).decode()
    )
    forged = ("--header", text, "--header", "X-Client-Verify: SUCCESS")
    form = GRANT | {"client_id": name}
    assert served.curl(form, *forged)[0] == 401
    assert served.events[-1].reason == "certificate_missing"
    other = shown(signed(named("other")), tmp_path)
    assert served.curl(form, *forged, *other)[0] == 401


def test_the_address_is_the_clients_whatever_it_writes(served: Served) -> None:
    served.curl(PINNED, "--header", "X-Forwarded-For: 198.51.100.1")
    assert served.events[-1].peer == "127.0.0.1"


def test_a_forged_header_has_no_effect_beside_the_proxy(tmp_path: Path, own: Shown) -> None:
    """Who reaches the server itself, and is no trusted proxy, has written nothing."""
    with behind_nginx(tmp_path, trusted=("192.0.2.1",)) as served:
        with served.register() as register:
            pins = CertificateIdentity(thumbprints=(own.thumbprint,))
            register.add_device(DeviceWish("pinned", certificate=pins))
        escaped = quote(own.pem.decode(), safe="")
        forged = ("--header", f"X-Client-Cert: {escaped}", "--header", "X-Client-Verify: SUCCESS")
        address = ("--header", "X-Forwarded-For: 198.51.100.1")
        for at in (served.direct, served.url):
            assert served.curl(PINNED, *forged, *address, at=at)[0] == 401
            assert served.events[-1].reason == "certificate_missing"
            assert served.events[-1].peer in ("127.0.0.1", "::1")


@pytest.mark.parametrize("fault", ["expired", "signature"])
def test_what_nginx_does_not_let_through_never_arrives(
    served: Served, fault: str, tmp_path: Path
) -> None:
    if fault == "expired":
        bad = signed(named("device"), issuer=served.place.clients, begins=-2 * DAY, ends=-DAY)
    else:  # by an authority that only calls itself as ours
        bad = signed(named("device"), issuer=signed(named("clients"), authority=True))
    before = len(served.events)
    with pytest.raises(ValueError, match="Expecting value"):  # nginx's own page, 400
        served.curl(NAMED, *shown(bad, tmp_path))
    assert len(served.events) == before
