"""The operator's front page, around Django's admin."""

from __future__ import annotations

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_safe

from ledger.overview import overview
from ledger.watching import broker

SEES = "simcourier.view_delivery"


@require_safe
def overview_page(request: HttpRequest) -> HttpResponse:
    """What waits, who works, what has failed. Staff who may not see deliveries get the admin's own front page."""
    return admin.site.admin_view(_page)(request)


@require_safe
def overview_now(request: HttpRequest) -> HttpResponse:
    """The part of it that changes, for the page's script."""
    return admin.site.admin_view(_part)(request)


def _page(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm(SEES):
        return redirect("admin:index")
    context = admin.site.each_context(request) | {"title": "Overview", "seen": overview(broker())}
    return TemplateResponse(request, "simcourier/overview.html", context)


def _part(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm(SEES):
        raise PermissionDenied
    return TemplateResponse(request, "simcourier/overview_now.html", {"seen": overview(broker())})
