"""The JSON API, and what is answered where no page can be."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Concatenate, ParamSpec
from uuid import UUID

import structlog
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from ledger.definitions import definitions
from ledger.errors import LedgerUnavailable
from ledger.lookup import find

log = structlog.get_logger()

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


def tells_when_the_ledger_is_away(view: View[P]) -> View[P]:
    """Answer 503 with a sentence, since whoever asks is a program and may ask again."""

    @functools.wraps(view)
    def wrapper(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except LedgerUnavailable as error:
            return JsonResponse({"status": "error", "error": str(error)}, status=503)

    return wrapper


@require_safe
@tells_when_the_ledger_is_away
def backends(request: HttpRequest) -> JsonResponse:
    """The storage backends that can be selected for a simulation: a list of id, name and description."""
    del request
    active = [
        {"id": one.identifier, "name": one.name, "description": one.description} for one in definitions() if one.active
    ]
    return JsonResponse({"backends": active})


@require_safe
@tells_when_the_ledger_is_away
def delivery(request: HttpRequest, delivery_id: UUID) -> JsonResponse:
    """Where a delivery is. Its id is a random UUID that only the publisher and the recipients know."""
    del request
    found = find(str(delivery_id))
    if not found:
        return JsonResponse({"error": "This delivery is not known (yet)."}, status=404)
    view = found[0]
    return JsonResponse(
        {
            "id": view.id,
            "event_digest": view.body_digest,
            "state": view.state,
            "stage": view.stage,
            "reason": view.reason,
            "simulation": {"outcome": view.simulation.outcome, "exit_code": view.simulation.exit_code}
            if view.simulation
            else None,
            "sentence": view.sentence(),
            "ended": view.ended,
            "doing": view.doing,
            "progress": asdict(view.progress) if view.progress else None,
            "link": view.link or None,
            "expires": view.link_expires,
            "archive": view.archive_name or None,
            "size": view.archive_size,
            "sha256": view.archive_sha256 or None,
        }
    )


def favicon(request: HttpRequest) -> HttpResponse:
    """None: browsers ask for it on every page, and each time the log would tell that it is missing."""
    del request
    return HttpResponse(status=204, headers={"Cache-Control": "max-age=86400"})


@require_safe
@tells_when_the_ledger_is_away
def healthz(request: HttpRequest) -> JsonResponse:
    """200 while the site answers and reaches its database, else 503."""
    del request
    definitions()
    return JsonResponse({"status": "ok"})


def refused(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A request that is not answered: mostly one for a host name that we do not know to be ours."""
    if not isinstance(exception, DisallowedHost):
        return _sentence("This request cannot be understood.", 400)
    name = request.META.get("HTTP_HOST", "")
    log.warning("request.unknown_host", host=name)
    return _sentence(
        f"This site is not known under this name, but as {', '.join(settings.CSRF_TRUSTED_ORIGINS)}: "
        "SIMCOURIER_PUBLIC_URL must be the address under which people reach it, and a proxy must hand on the Host "
        "header.",
        400,
    )


def broken(request: HttpRequest) -> HttpResponse:
    """A page that could not be made."""
    del request
    if isinstance(sys.exc_info()[1], OperationalError | InterfaceError | LedgerUnavailable):
        return _sentence("The ledger cannot be reached at the moment; try again in a minute.", 503)
    return _sentence("This page could not be made; the site's log says why.", 500)


def _sentence(text: str, status: int) -> HttpResponse:
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8")
