"""The admin's lists and pages of deliveries and mails."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.views.decorators.http import require_POST

from ledger import cells
from ledger.lookup import promised
from ledger.models import Delivery, Notification
from ledger.moves import CANCEL, MOVES, RESEND, RETRY, REVOKE, Move, possible
from ledger.simulation import simulation_of, why
from ledger.states import State
from messaging.errors import UserError

# Campaigns to choose from: of how many runs at most, and how many of them.
LAST_RUNS, MOST_CAMPAIGNS = 1000, 10


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows that only the system writes. Who may change them may run their actions."""

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

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether somebody may run the actions."""
        return bool(request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}"))

    def run(
        self, request: HttpRequest, rows: Iterable[Any], move: Callable[[Any], str], *, done: str, note: str
    ) -> None:
        """Move each row, and say what became of it: ``move`` returns why it did not."""
        moved = 0
        for row in rows:
            try:
                refusal = move(row)
            except UserError as error:
                refusal = str(error)
            if refusal:
                self.message_user(request, refusal, messages.ERROR)
            else:
                moved += 1
                self.log_change(request, row, note)
        if moved:
            name = self.opts.verbose_name if moved == 1 else self.opts.verbose_name_plural
            self.message_user(request, f"{moved} {name} {done}", messages.SUCCESS)


class NotificationInline(admin.TabularInline):
    """The mails of a delivery."""

    model = Notification
    fields = ["recipient", "kind", "state", "digest", "reason", "due_at", "attempts", "sent_at", "uncertain"]
    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody adds them by hand."""
        del request, obj
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes them by hand."""
        del request, obj
        return False


class CampaignFilter(admin.SimpleListFilter):
    """The campaigns of late."""

    title = "campaign"
    parameter_name = "campaign"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The newest ones, and the one that was chosen by a link."""
        del request, model_admin
        newest = Delivery.objects.exclude(campaign_id="").values_list("campaign_id", flat=True)
        found = dict.fromkeys(newest.order_by("-received_at")[:LAST_RUNS])
        names = list(found)[:MOST_CAMPAIGNS]
        chosen = self.value()
        return [(one, one) for one in dict.fromkeys([*([chosen] if chosen else []), *names])]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        """Its runs."""
        del request
        return queryset.filter(campaign_id=self.value()) if self.value() else queryset


class DeliveryAdmin(ReadOnlyAdmin):
    """Deliveries."""

    list_display = ["__str__", "state_told", "campaign", "backend", "received", "reason_in_short"]
    list_filter = ["state", "lane", "backend", CampaignFilter]
    search_fields = ["id", "simulation_id", "title", "campaign_id", "notifications__recipient"]
    search_help_text = "Search ids, titles, campaigns, and recipients of mails"
    date_hierarchy = "received_at"
    actions = ["retry_selected", "cancel_selected", "resend_selected", "revoke_selected"]
    fields = [
        "id", "simulation_id", "title", "simulation", "log_tail", "campaign", "lane", "publisher", "backend",
        "state_told", "reason", "waiting_until", "attempts", "crashes", "worker", "lease_until",
        "received_at", "started_at", "ended_at",
        "archive_name", "archive_size", "archive_sha256", "sent_bytes", "stored_backend", "link", "link_expires",
        "kept", "page", "warnings",
    ]  # fmt: skip

    class Media:
        css: ClassVar = {"all": ["simcourier/admin.css"]}

    @admin.display(description="State", ordering="state")
    def state_told(self, delivery: Delivery) -> str:
        """With its colour."""
        return cells.state(delivery)

    @admin.display(description="Campaign", ordering="campaign_id")
    def campaign(self, delivery: Delivery) -> str:
        """A link to its runs."""
        if not delivery.campaign_id:
            return cells.NOTHING
        runs = reverse("admin:simcourier_delivery_changelist") + f"?{urlencode({'campaign': delivery.campaign_id})}"
        return format_html('<a href="{}">{}</a>', runs, delivery.campaign_id)

    @admin.display(description="Received", ordering="received_at")
    def received(self, delivery: Delivery) -> str:
        """When, in short."""
        return cells.moment(delivery.received_at)

    @admin.display(description="Reason", ordering="reason")
    def reason_in_short(self, delivery: Delivery) -> str:
        """As much of it as a list has room for."""
        return cells.reason(delivery)

    @admin.display(description="Simulation")
    def simulation(self, delivery: Delivery) -> str:
        """How it ended, how long it ran, and where."""
        one = simulation_of(delivery)
        return ", ".join(filter(None, (one.how, one.where_and_how_long))) if one else cells.NOTHING

    @admin.display(description="The end of its log")
    def log_tail(self, delivery: Delivery) -> str:
        """Where something went wrong."""
        one = simulation_of(delivery)
        if one is None or not one.log_tail or not why(delivery):
            return cells.NOTHING
        return format_html("<pre>{}</pre>", one.log_tail)

    @admin.display(description="Kept until")
    def kept(self, delivery: Delivery) -> str:
        """The day that mails and page promise."""
        until = promised(delivery)
        if until is None:
            return "for ever" if delivery.state == State.DELIVERED and not delivery.keep_days else cells.NOTHING
        return date_format(until, "DATE_FORMAT")

    @admin.display(description="Page")
    def page(self, delivery: Delivery) -> str:
        """A link to what its recipients see, with its receipt."""
        if not delivery.page_key:
            return cells.NOTHING
        address = reverse("delivery-page", args=[delivery.page_key])
        return format_html('<a href="{}">As its recipients see it, with its receipt</a>', address)

    @admin.action(description="Try the selected deliveries again", permissions=["operate"])
    def retry_selected(self, request: HttpRequest, chosen: QuerySet[Delivery]) -> None:
        """Those that have FAILED or are WAITING."""
        self.move(request, chosen, RETRY)

    @admin.action(description="Cancel the selected deliveries", permissions=["operate"])
    def cancel_selected(self, request: HttpRequest, chosen: QuerySet[Delivery]) -> None:
        """Those that have not ended."""
        self.move(request, chosen, CANCEL)

    @admin.action(description="Send the mails of the selected deliveries again", permissions=["operate"])
    def resend_selected(self, request: HttpRequest, chosen: QuerySet[Delivery]) -> None:
        """To everybody whom the event names."""
        self.move(request, chosen, RESEND)

    @admin.action(description="Give the pages of the selected deliveries new addresses", permissions=["operate"])
    def revoke_selected(self, request: HttpRequest, chosen: QuerySet[Delivery]) -> None:
        """The old ones, which somebody may have who should not, lead nowhere."""
        self.move(request, chosen, REVOKE)

    def move(self, request: HttpRequest, rows: Iterable[Delivery], move: Move) -> None:
        """Do one of them with each."""
        self.run(request, rows, move.of, done=move.done, note=move.note)

    def get_inlines(
        self, request: HttpRequest, obj: Delivery | None
    ) -> list[type[admin.options.InlineModelAdmin[Any, Any]]]:
        """No empty table where there are no mails."""
        del request
        return [NotificationInline] if obj is not None and obj.notifications.exists() else []

    def get_urls(self) -> list[URLPattern]:
        """The pages of the admin, and what is behind the buttons of one delivery."""
        one = path(
            "<path:object_id>/do/<slug:name>/",
            self.admin_site.admin_view(require_POST(self.move_view)),
            name="simcourier_delivery_move",
        )
        return [one, *super().get_urls()]

    def move_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """Do it with the delivery whose page has the button."""
        row = self.get_object(request, unquote(object_id))
        if row is None or name not in MOVES:
            raise Http404
        if not self.has_operate_permission(request):
            raise PermissionDenied
        self.move(request, [row], MOVES[name])
        return redirect("admin:simcourier_delivery_change", row.pk)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """With a button for whatever can be done with it."""
        row = self.get_object(request, unquote(object_id)) if self.has_operate_permission(request) else None
        moves = {"moves": possible(row) if row else []}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **moves})


class NotificationAdmin(ReadOnlyAdmin):
    """Mails, those to operators among them."""

    list_display = ["recipient", "kind", "of", "state_told", "reason_in_short", "created", "sent"]
    list_filter = ["state", "kind", ("uncertain", admin.AllValuesFieldListFilter)]
    list_select_related = ["delivery"]
    ordering = ["-created_at", "-id"]
    search_fields = ["recipient", "reason", "about", "delivery__title", "delivery__simulation_id"]
    search_help_text = "Search recipients, reasons, and what the mails are about"
    date_hierarchy = "created_at"
    fields = [
        "recipient", "kind", "of", "text", "state_told", "digest", "reason", "attempts", "due_at",
        "uncertain", "data_started", "lease_until", "keep_until", "created_at", "sent_at",
    ]  # fmt: skip

    class Media:
        css: ClassVar = {"all": ["simcourier/admin.css"]}

    @admin.display(description="About", ordering="delivery__title")
    def of(self, mail: Notification) -> str:
        """A link to the delivery, or what else it is about."""
        if mail.delivery is None:
            return mail.about or cells.NOTHING
        address = reverse("admin:simcourier_delivery_change", args=[mail.delivery.pk])
        return format_html('<a href="{}">{}</a>', address, mail.delivery)

    @admin.display(description="State", ordering="state")
    def state_told(self, mail: Notification) -> str:
        """With its colour."""
        return cells.mail_state(mail)

    @admin.display(description="Reason", ordering="reason")
    def reason_in_short(self, mail: Notification) -> str:
        """As much of it as a list has room for."""
        return cells.clamped(mail.reason)

    @admin.display(description="Created", ordering="created_at")
    def created(self, mail: Notification) -> str:
        """When, in short."""
        return cells.moment(mail.created_at)

    @admin.display(description="Sent", ordering="sent_at")
    def sent(self, mail: Notification) -> str:
        """When, in short."""
        return cells.moment(mail.sent_at)
