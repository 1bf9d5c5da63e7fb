"""The admin: definitions can be edited, everything else is looked at."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from ledger.forms import StorageBackendForm
from ledger.models import DeadLetter, Delivery, Notification, StorageBackend
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
        "health",
    ]
    list_filter = ["storage_backend_active"]
    search_fields = ["storage_backend", "storage_backend_id", "storage_backend_desc"]

    @admin.display(description="Health")
    def health(self, definition: StorageBackend) -> str:
        """Whether the last delivery could be stored there."""
        return definition.unhealthy_reason or "ok"

    def has_delete_permission(self, request: HttpRequest, obj: StorageBackend | None = None) -> bool:
        """A definition in use cannot be deleted: it says where archives lie. It can be made inactive."""
        if obj is not None:
            identifier = obj.storage_backend_id
            open_ones = Delivery.objects.filter(backend=identifier).exclude(state__in=[State.EXPIRED, State.CANCELLED])
            stored_there = Delivery.objects.filter(stored_backend=identifier).exclude(state=State.EXPIRED)
            if open_ones.exists() or stored_there.exists():
                return False
        return super().has_delete_permission(request, obj)

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
