"""The JSON API."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from ledger.definitions import definitions
from ledger.lookup import find
from ledger.site import LedgerUnavailable


@require_safe
def backends(request: HttpRequest) -> JsonResponse:
    """The storage backends that can be selected for a simulation: a list of id, name and description."""
    del request
    active = [
        {"id": one.identifier, "name": one.name, "description": one.description} for one in definitions() if one.active
    ]
    return JsonResponse({"backends": active})


@require_safe
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
            "state": view.state,
            "stage": view.stage,
            "reason": view.reason,
            "sentence": view.sentence(),
            "ended": view.ended,
            "link": view.link or None,
            "expires": view.link_expires,
            "archive": view.archive_name or None,
            "size": view.archive_size,
            "sha256": view.archive_sha256 or None,
        }
    )


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 while the site answers and reaches its database, else 503."""
    del request
    try:
        definitions()
    except LedgerUnavailable as error:
        return JsonResponse({"status": "error", "error": str(error)}, status=503)
    return JsonResponse({"status": "ok"})
