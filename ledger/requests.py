"""What is true of every request to the site: where it comes from, and what a browser may do with the answer."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest, HttpResponse

# Everything from here, nothing inline: what a hostile title or file name gets onto a page is neither run nor fetched.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO")


def guarded(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: the policy on each answer, and the scheme of each request.

    A proxy that speaks TLS need not say so; one that says ``http`` has got the request without, which is sent to https.
    Only a proxy that the settings name is heard: anybody else can write these headers.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if not _is_proxy(str(request.META.get("REMOTE_ADDR", ""))):
            for header in FORWARDED:
                request.META.pop(header, None)
        if settings.SECURE_SSL_REDIRECT:
            request.META.setdefault("HTTP_X_FORWARDED_PROTO", "https")
        response = get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        response.headers.setdefault("Cache-Control", "no-store")  # links and reasons are for whoever has asked
        return response

    return middleware


def address_of(request: HttpRequest) -> str:
    """The client's address: the last one in X-Forwarded-For that is not that of a proxy of ours."""
    hops = [hop.strip() for hop in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if hop.strip()]
    address = str(request.META.get("REMOTE_ADDR", ""))
    while hops and _is_proxy(address):
        address = hops.pop()
    return address


def _is_proxy(address: str) -> bool:
    try:
        return any(
            ip_address(address) in ip_network(network) for network in getattr(settings, "SIMCOURIER_PROXIES", ())
        )
    except ValueError:
        return False
