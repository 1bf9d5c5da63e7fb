"""The admin: definitions can be edited; the rest is looked at, and moved as the command line moves it.

The site publishes nothing: what an action asks for stands in the ledger, and the next sweep of a worker does it.
"""

from __future__ import annotations

from textwrap import shorten
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.views.decorators.http import require_POST, require_safe

from ledger.admin_deliveries import DeliveryAdmin, NotificationAdmin, ReadOnlyAdmin
from ledger.checks import check_definition
from ledger.dead_letters import DISCARDED, OPEN, REPLAYED, deaths, discard
from ledger.definitions import definition, try_at_once
from ledger.forms import StorageBackendForm
from ledger.models import DeadLetter, Delivery, Notification, Placement, StorageBackend
from ledger.replay import replay
from ledger.states import State
from messaging.terminal import printable
from messaging.topology import Topology

admin.site.register(Delivery, DeliveryAdmin)
admin.site.register(Notification, NotificationAdmin)


@admin.register(StorageBackend)
class StorageBackendAdmin(admin.ModelAdmin):
    """Definitions of storage backends."""

    form = StorageBackendForm
    list_display = [
        "storage_backend",
        "storage_backend_id",
        "storage_backend_keep_days",
        "storage_backend_active",
        "health_in_short",
    ]
    list_filter = ["storage_backend_active"]
    readonly_fields = ["health"]
    actions = ["check_selected"]
    search_fields = ["storage_backend", "storage_backend_id", "storage_backend_desc"]
    search_help_text = "Search names, identifiers and descriptions"

    @admin.display(description="Health")
    def health_in_short(self, definition: StorageBackend) -> str:
        """As much of it as a list has room for."""
        return shorten(self.health(definition), 60, placeholder=" …")

    @admin.display(description="Health")
    def health(self, definition: StorageBackend) -> str:
        """Whether the last delivery could be stored there, and if not, why."""
        return definition.unhealthy_reason or "ok"

    @admin.action(description="Check the selected storage backends")
    def check_selected(self, request: HttpRequest, chosen: QuerySet[StorageBackend]) -> None:
        """Try them out, one after the other."""
        for row in chosen:
            self._check(request, row)

    def get_urls(self) -> list[URLPattern]:
        """The pages of the admin, and the one behind the button 'Check'."""
        check = path(
            "<path:object_id>/check/",
            self.admin_site.admin_view(require_POST(self.check_view)),
            name="simcourier_storagebackend_check",
        )
        return [check, *super().get_urls()]

    def check_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Try a definition out, and say on its page what was found."""
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        self._check(request, row)
        return redirect("admin:simcourier_storagebackend_change", row.pk)

    def _check(self, request: HttpRequest, row: StorageBackend) -> None:
        worked = True
        for step in check_definition(definition(row.storage_backend_id), getattr(settings, "SIMCOURIER_SITE", {})):
            worked &= step.ok
            level = messages.SUCCESS if step.ok else messages.ERROR
            self.message_user(request, f"{row.storage_backend}, {step.name}: {step.text}", level)
        self.log_change(request, row, f"Checked: {'all steps worked' if worked else 'a step did not work'}.")

    def has_delete_permission(self, request: HttpRequest, obj: StorageBackend | None = None) -> bool:
        """A definition in use cannot be deleted: it says where archives lie. It can be made inactive."""
        if obj is not None:
            identifier = obj.storage_backend_id
            open_ones = Delivery.objects.filter(backend=identifier).exclude(state__in=[State.EXPIRED, State.CANCELLED])
            placed_there = Placement.objects.filter(backend=identifier)
            if open_ones.exists() or placed_there.exists():
                return False
        return super().has_delete_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: StorageBackend, form: Any, change: bool) -> None:
        """What waits for this definition is tried with it as it is now."""
        super().save_model(request, obj, form, change)
        try_at_once(obj.storage_backend_id)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Without the bulk delete, which would not ask `has_delete_permission` for each."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions


class LetterState(admin.SimpleListFilter):
    """Open ones, or how they were closed."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Open first: these wait for somebody."""
        del request, model_admin
        return [(name, name) for name in ("open", REPLAYED, DISCARDED)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> QuerySet[DeadLetter]:
        """The rows of the chosen state."""
        del request
        chosen = self.value()
        if chosen is None:
            return queryset
        return queryset.filter(OPEN) if chosen == "open" else queryset.filter(closed_as=chosen)


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    """Messages that were set aside."""

    list_display = ["id", "queue", "reason", "times", "first_at", "last_at", "state"]
    list_filter = [LetterState, "queue"]
    search_fields = ["reason", "queue", "publisher", "digest"]
    search_help_text = "Search reasons, queues, publishers and digests"
    actions = ["replay_selected", "discard_selected"]
    fields = [
        "state",
        "queue",
        "reason",
        "times",
        "broker",
        "publisher",
        "headers",
        "text",
        "original",
        "first_at",
        "last_at",
        "closed_at",
    ]

    @admin.display(description="State")
    def state(self, letter: DeadLetter) -> str:
        """Open, or how it was closed."""
        return letter.closed_as or "open"

    @admin.display(description="Counted by the broker")
    def broker(self, letter: DeadLetter) -> str:
        """What ``x-death`` says."""
        return "; ".join(map(str, deaths(letter.headers))) or "-"

    @admin.display(description="Body")
    def text(self, letter: DeadLetter) -> str:
        """The body, as far as it is text."""
        return printable(bytes(letter.body).decode("utf-8", "replace"), keep="\r\n\t")

    @admin.display(description="Original")
    def original(self, letter: DeadLetter) -> str:
        """A link to the body as it came."""
        address = reverse("admin:simcourier_deadletter_body", args=[letter.pk])
        return format_html('<a href="{}">Download {} bytes as they came</a>', address, len(letter.body))

    def get_urls(self) -> list[URLPattern]:
        """The pages of the admin, and the original bytes."""
        body = path(
            "<int:number>/body/",
            self.admin_site.admin_view(require_safe(self.body_view)),
            name="simcourier_deadletter_body",
        )
        return [body, *super().get_urls()]

    def body_view(self, request: HttpRequest, number: int) -> HttpResponse:
        """The body as it came. Never shown in place: anybody may have written it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        letter = self.get_queryset(request).filter(pk=number).first()
        if letter is None:
            raise Http404
        name = f"dead-letter-{letter.pk}.bin"
        return HttpResponse(
            bytes(letter.body),
            content_type="application/octet-stream",
            headers={"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"},
        )

    @admin.action(description="Replay the selected dead letters", permissions=["operate"])
    def replay_selected(self, request: HttpRequest, chosen: QuerySet[DeadLetter]) -> None:
        """Those that cannot be accepted come back as new rows."""
        topology = getattr(settings, "SIMCOURIER_TOPOLOGY", Topology())

        def move(row: DeadLetter) -> str:
            letter = replay(row.pk, topology)
            if letter.doubt:
                self.message_user(request, f"{row.pk} may come back as a new row: {letter.doubt}", messages.WARNING)
            return ""

        self.run(
            request, chosen, move, done="will be replayed within seconds, if a worker is running.", note="Replayed."
        )

    @admin.action(description="Discard the selected dead letters", permissions=["operate"])
    def discard_selected(self, request: HttpRequest, chosen: QuerySet[DeadLetter]) -> None:
        """They can still be replayed, for as long as they are kept."""

        def move(row: DeadLetter) -> str:
            return "" if discard(row.pk) else f"{row.pk}: it is not open."

        self.run(request, chosen, move, done="discarded.", note="Discarded.")
