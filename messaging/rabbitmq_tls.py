"""RabbitMQ over TLS: which authority is believed, and what is said of a broker that cannot be trusted.

The query of an ``amqps:`` address may name files, as RabbitMQ's own clients have it
(https://www.rabbitmq.com/docs/uri-query-parameters): ``cacertfile``, ``certfile`` and ``keyfile``. Without the first,
the system's authorities are believed. Certificate and host name are always verified: nothing in an address turns that
off.
"""

from __future__ import annotations

import ssl
from urllib.parse import parse_qsl, urlencode, urlsplit

from messaging.engine import BrokerError

FILES = ("cacertfile", "certfile", "keyfile")
# Of pika and of RabbitMQ's clients: what would trust anybody, or somebody else.
REFUSED = ("ssl_options", "verify", "server_name_indication", "fail_if_no_peer_cert")


def without_files(url: str) -> tuple[str, ssl.SSLContext | None]:
    """The address as pika takes it, and with ``amqps:`` how its broker is verified.

    Raises:
        BrokerError: a file cannot be used, or something in the query would weaken what is verified.
        ValueError: the address cannot be read.
    """
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    files = {name: value for name, value in query if name in FILES}
    for name, _ in query:
        if name in REFUSED:
            raise BrokerError(
                f"The broker's address holds {name}, which is not taken: certificate and host name are always "
                "verified; cacertfile=/FILE names an authority of your own."
            )
    if parts.scheme != "amqps":
        if files:
            raise BrokerError(f"The broker's address names a {min(files)} and no TLS; it must begin with amqps:.")
        return url, None
    kept = [(name, value) for name, value in query if name not in FILES]
    return parts._replace(query=urlencode(kept)).geturl(), _context(files)


def _context(files: dict[str, str]) -> ssl.SSLContext:
    named = files.get("cacertfile")
    try:
        context = ssl.create_default_context(cafile=named)
        if "certfile" in files:
            named = files["certfile"]
            context.load_cert_chain(named, files.get("keyfile"))
    except (OSError, ValueError) as error:  # ssl.SSLError is one
        why = getattr(error, "strerror", None) or "it holds nothing of the kind"
        raise BrokerError(f"The file {named}, which the broker's address names, cannot be used ({why}).") from None
    return context


def distrust(error: BaseException) -> str:
    """Why a broker is not trusted, as the end of a sentence; empty: that is not what is wrong."""
    if isinstance(error, ssl.SSLCertVerificationError):
        told = error.verify_message.rstrip(".")
        if "ostname mismatch" in told or "IP address mismatch" in told:
            return f"its certificate is for another host ({told})"
        if "expired" in told or "not yet valid" in told:
            return f"its certificate is not valid now ({told})"
        return (
            f"its certificate is not from an authority that is known here ({told}); cacertfile=/FILE in the address "
            "names one"
        )
    if isinstance(error, ssl.SSLError):
        return f"it does not speak TLS as we do ({error.reason or 'no reason given'}); amqps: is usually port 5671"
    return ""
