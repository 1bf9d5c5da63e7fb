"""The admin: definitions can be edited, everything else is looked at."""

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
from django.urls import URLPattern, path
from django.views.decorators.http import require_POST

from ledger.checks import check_definition
from ledger.definitions import definition, try_at_once
from ledger.forms import StorageBackendForm
from ledger.models import DeadLetter, Delivery, Notification, Placement, StorageBackend
from ledger.states import State


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


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows that only the system writes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds them by hand."""
        del request
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes them by hand."""
        del request, obj
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes them by hand."""
        del request, obj
        return False


class NotificationInline(admin.TabularInline):
    """The mails of a delivery."""

    model = Notification
    fields = ["recipient", "kind", "state", "reason", "sent_at", "uncertain"]
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody adds them by hand."""
        del request, obj
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes them by hand."""
        del request, obj
        return False


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """Deliveries."""

    list_display = ["__str__", "state", "stage", "backend", "received_at", "ended_at", "reason"]
    list_filter = ["state", "lane", "backend"]
    search_fields = ["id", "simulation_id", "title", "campaign_id"]
    date_hierarchy = "received_at"
    inlines = [NotificationInline]
    fields = [
        "id", "simulation_id", "title", "campaign_id", "lane", "publisher", "backend",
        "state", "stage", "reason", "waiting_until", "attempts", "crashes", "worker", "lease_until",
        "received_at", "started_at", "ended_at",
        "archive_name", "archive_size", "archive_sha256", "sent_bytes", "stored_backend", "link", "link_expires",
        "warnings",
    ]  # fmt: skip


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    """Messages that were set aside."""

    list_display = ["id", "queue", "reason", "times", "first_at", "last_at", "closed_as"]
    list_filter = ["queue", "closed_as"]
    fields = [
        "queue",
        "reason",
        "times",
        "publisher",
        "headers",
        "text",
        "first_at",
        "last_at",
        "closed_at",
        "closed_as",
    ]

    @admin.display(description="Body")
    def text(self, letter: DeadLetter) -> str:
        """The body, as far as it is text."""
        return bytes(letter.body).decode("utf-8", "replace")
