"""The storage server speaking TLS itself."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import signal
import socket
import ssl
from pathlib import Path

import psutil
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.local_cloud import CONTENT, MIB, LocalCloud, command
from tests.support.scratch import wait_until


class Certificate:
    """A certificate for this machine, and its key, in files."""

    def __init__(self, folder: Path, name: str = "one") -> None:
        self.file, self.key = folder / "cert.pem", folder / "key.pem"
        self.renew(name)

    def renew(self, name: str, *, with_key: bool = True) -> None:
        """Replace both."""
        key = ec.generate_private_key(ec.SECP256R1())
        who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(who)
            .issuer_name(who)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        if with_key:
            self.key.write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
            )

    @property
    def options(self) -> tuple[str, ...]:
        """For the command line."""
        return "--tls-cert", str(self.file), "--tls-key", str(self.key)


def name_shown(server: LocalCloud) -> str:
    """Of the certificate that a new connection gets."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=120) as connection,
        context.wrap_socket(connection) as secure,
    ):
        shown = x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")
    return str(shown.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def test_uploads_and_downloads_are_encrypted_and_links_begin_with_https(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    content = os.urandom(20 * MIB)
    with LocalCloud(arguments=certificate.options) as server:
        server.http.verify = str(certificate.file)

        assert server.url.startswith("https://127.0.0.1:")
        assert server.put("a", content).status_code == 201
        link = server.link("a", password="right")
        assert link.startswith(server.url)
        answer = server.http.post(link, {"password": "right"}, headers={"Accept": "text/html"}, timeout=120)
        assert "; Secure" in str(answer.history[0].headers["Set-Cookie"])
        assert server.http.get(link, headers={"Accept": "*/*"}, timeout=120).content == content
        assert server.get(link, Range="bytes=5-9").content == content[5:10]
        with pytest.raises(requests.ConnectionError):
            server.get(link.replace("https://", "http://"))
        assert server.events("audit.downloaded")[0]["bytes"] == len(content)


def test_a_new_certificate_is_taken_without_a_restart_and_one_that_does_not_fit_is_not(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    with LocalCloud(arguments=certificate.options) as server:
        names = [name_shown(server)]
        certificate.renew("two")
        psutil.Process(server.pid).send_signal(signal.SIGHUP)
        wait_until(lambda: bool(server.events("tls.renewed")), "it takes the new one")
        names.append(name_shown(server))
        certificate.renew("three", with_key=False)
        psutil.Process(server.pid).send_signal(signal.SIGHUP)
        wait_until(lambda: bool(server.events("tls.not_renewed")), "it looks at the wrong one")
        names.append(name_shown(server))

        assert names == ["one", "two", "two"]
        assert server.events("tls.not_renewed")[0]["told"] == "they do not belong together"


def test_what_is_no_certificate_is_told_in_one_sentence(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    certificate.renew("another", with_key=False)

    assert refusal(certificate) == "they do not belong together"
    certificate.file.write_text("no certificate")
    assert refusal(certificate) == "they are no PEM files"
    certificate.file.unlink()
    assert refusal(certificate) == "No such file or directory"


def refusal(certificate: Certificate) -> str:
    """Why it cannot be used."""
    told = command("--folder", str(certificate.file.parent / "cloud"), *certificate.options, fails=True).stderr
    begin = f"Error: The certificate {certificate.file} and the key {certificate.key} cannot be used: "
    assert told.startswith(begin), told
    return told.removeprefix(begin).removesuffix(".\n")


def test_a_connection_that_never_shakes_hands_holds_up_nobody(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    with (
        LocalCloud(arguments=certificate.options) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=120),
    ):
        server.http.verify = str(certificate.file)
        server.put("a", CONTENT)

        assert server.fetch(server.link("a")) == CONTENT
