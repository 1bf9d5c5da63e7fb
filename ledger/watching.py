"""For what watches the site by itself: Prometheus, and the probes of a cluster."""

from __future__ import annotations

import hmac

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ledger.definitions import definitions
from ledger.views import tells_when_the_ledger_is_away
from messaging.engine import BrokerError, Engine


@require_safe
@never_cache
@tells_when_the_ledger_is_away
def metrics(request: HttpRequest) -> HttpResponse:
    """The numbers of the whole installation, for who has the token and for signed-in staff."""
    if not (_has_token(request) or (request.user.is_active and request.user.is_staff)):
        return HttpResponse(
            "For staff, or with SIMCOURIER_METRICS_TOKEN as bearer token.\n", status=403, content_type="text/plain"
        )
    from prometheus_client import CONTENT_TYPE_LATEST  # here: the first page must not wait for it

    from ledger.metrics import exposition

    return HttpResponse(exposition(broker()), content_type=CONTENT_TYPE_LATEST)


@require_safe
@never_cache
@tells_when_the_ledger_is_away
def readyz(request: HttpRequest) -> HttpResponse:
    """200 while the site reaches what it needs, else 503: the ledger, and the broker where it was told of one."""
    del request
    definitions()
    told = {"status": "ok", "ledger": "ok"}
    engine = broker()
    if engine is not None:
        try:
            engine.reach()
        except BrokerError:
            return JsonResponse({**told, "status": "error", "broker": "cannot be reached"}, status=503)
        told["broker"] = "ok"
    return JsonResponse(told)


def broker() -> Engine | None:
    """The broker, where the site was told of one."""
    engine: Engine | None = getattr(settings, "SIMCOURIER_ENGINE", None)
    return engine


def _has_token(request: HttpRequest) -> bool:
    known = getattr(settings, "SIMCOURIER_METRICS_TOKEN", None)
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    if known is None or kind.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip().encode(), known.get_secret_value().encode())
