"""A delivery's page, for whoever has its address: no account. It can be read without JavaScript.

The address is the key. So no other site is told it, nobody keeps a copy on the way, and no search engine is let in.
(``no-referrer`` would do the first as well, but browsers then hide from our own forms where they come from, and Django
refuses them: https://fetch.spec.whatwg.org/#append-a-request-origin-header.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.cache import patch_cache_control
from django.views.decorators.http import require_POST, require_safe

from ledger.errors import LedgerUnavailable
from ledger.keeping import keep_longer
from ledger.receipt import id_of, picture, shown
from ledger.resending import Refused, send_again
from ledger.states import StepKind

PAGE = "simcourier/delivery_page.html"
GONE = (
    "There is no such page, or not any more: another address may have taken its place, or what it told is not kept any "
    "longer."
)
AWAY = "The ledger cannot be reached at the moment; try again in a minute."
# What a press of a button has done, by the word in the address that follows; an address that is kept says it no longer.
DONE = {
    "sent": (StepKind.RESENT, "The mail goes out again, to the same recipients, within a minute."),
    "kept": (StepKind.KEPT, "It is kept longer; the new date is below."),
}
NOT_KEPT = "It cannot be kept longer than it is."


def _guarded(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """The headers of every answer, and a sentence while the ledger is away."""

    def wrapper(request: HttpRequest, **named: Any) -> HttpResponse:
        try:
            response = view(request, **named)
        except LedgerUnavailable:
            response = _told(request, AWAY, 503)
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["X-Robots-Tag"] = "noindex, nofollow"
        if not response.has_header("Cache-Control"):
            patch_cache_control(response, private=True, no_store=True)
        return response

    return wrapper


@_guarded
@require_safe
def delivery_page(request: HttpRequest, key: str) -> HttpResponse:
    """Where it is, its receipt, what the results were, and what may be asked for."""
    page = shown(key, _most_days())
    if page is None:
        return _told(request, GONE, 404)
    pressed = request.GET.get("done", "")
    step, done = DONE.get(pressed, ("", ""))
    told = NOT_KEPT if pressed == "not-kept" else done if page.lately(step) else ""
    return render(request, PAGE, {"page": page, "done": told})


@_guarded
@require_safe
def delivery_picture(request: HttpRequest, key: str, number: int) -> HttpResponse:
    """A plot."""
    png = picture(key, number)
    if png is None:
        return _told(request, GONE, 404)
    response = HttpResponse(png, content_type="image/png")
    patch_cache_control(response, private=True, max_age=86400)
    return response


@_guarded
@require_POST
def again(request: HttpRequest, key: str) -> HttpResponse:
    """Have the mail sent again, to whom it went before."""
    delivery_id = id_of(key)
    if delivery_id is None:
        return _told(request, GONE, 404)
    try:
        send_again(delivery_id)
    except Refused as error:
        return _told(request, str(error), 429 if error.later else 409, back=True)
    return _back(key, "sent")


@_guarded
@require_POST
def keep(request: HttpRequest, key: str) -> HttpResponse:
    """Have the archive kept longer, within the operator's bound."""
    delivery_id = id_of(key)
    if delivery_id is None:
        return _told(request, GONE, 404)
    return _back(key, "kept" if keep_longer(delivery_id, _most_days()) else "not-kept")


def _most_days() -> int:
    return int(getattr(settings, "SIMCOURIER_KEEP_LONGER_DAYS", 0))


def _back(key: str, done: str) -> HttpResponse:
    response = redirect("delivery-page", key=key)
    response["Location"] += f"?done={done}"
    return response


def _told(request: HttpRequest, text: str, status: int, *, back: bool = False) -> HttpResponse:
    return render(request, "simcourier/delivery_told.html", {"text": text, "back": back}, status=status)
