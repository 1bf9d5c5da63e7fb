"""The tables.

Moves are conditional updates, never a ``save()``: a worker's in `ledger.deliveries`, an email sender's in
`ledger.notifications`, an operator's in `ledger.operators`.
"""

from __future__ import annotations

import uuid

from django.core.validators import MaxValueValidator, RegexValidator
from django.db import models
from django.db.models import Q

from ledger.fields import EncryptedTextField, one_line, storable
from ledger.states import MAIL_ABOUT, Kind, NoticeState, Stage, State, StepKind
from messaging.messages import Lane

MOST_KEEP_DAYS = 36_500  # a hundred years; 0 is for ever


class StorageBackend(models.Model):
    """A definition: where archives can be stored, and how to sign in there."""

    storage_backend = models.CharField("Backend name", max_length=100, validators=[one_line])
    storage_backend_id = models.CharField(
        "Backend identifier",
        max_length=100,
        unique=True,
        validators=[
            RegexValidator(
                r"^[a-z0-9_]+(-[A-Za-z0-9_.-]+)?\Z",
                "The plugin's id, or plugin id, hyphen and a name of your own, e.g. local or seafile-bremen.",
            )
        ],
        help_text="The plugin's id, or plugin id, hyphen and a name of your own for a second account: seafile-bremen.",
    )
    storage_backend_token = EncryptedTextField("Backend token", blank=True, validators=[storable])
    storage_backend_config = EncryptedTextField("Backend config", blank=True, help_text="JSON", validators=[storable])
    storage_backend_keep_days = models.PositiveIntegerField(
        "Backend keep days",
        default=30,
        validators=[MaxValueValidator(MOST_KEEP_DAYS)],
        help_text="Days after the mail for which an archive is kept; 0: for ever.",
    )
    storage_backend_desc = models.TextField("Backend description", blank=True, validators=[storable])
    storage_backend_active = models.BooleanField(
        "Backend active", default=True, help_text="Whether it can be selected for a simulation."
    )
    unhealthy_reason = models.TextField(blank=True, editable=False)
    unhealthy_until = models.DateTimeField(null=True, editable=False)
    operator_told = models.BooleanField(default=False, editable=False)  # of this outage

    class Meta:
        verbose_name = "storage backend"
        ordering = ["storage_backend_id"]

    def __str__(self) -> str:
        return f"{self.storage_backend} ({self.storage_backend_id})"


class Delivery(models.Model):
    """One event's way to its link."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False, help_text="The event's id.")
    body = models.BinaryField(help_text="The event as it was published.")
    body_digest = models.CharField(max_length=64)
    publisher = models.CharField(max_length=255, blank=True, help_text="The broker's user who published it.")
    lane = models.CharField(max_length=20, choices=[(lane.value, lane.value) for lane in Lane])
    simulation_id = models.CharField(max_length=200)
    title = models.CharField(max_length=200, blank=True)
    campaign_id = models.CharField(max_length=200, blank=True)
    campaign_runs = models.PositiveIntegerField(null=True, help_text="Runs of the whole campaign, as the event says.")
    backend = models.CharField(max_length=200, help_text="Identifier of the storage backend that was asked for.")

    state = models.CharField(max_length=10, choices=State.choices, default=State.RECEIVED)
    stage = models.CharField(max_length=12, choices=Stage.choices, blank=True)
    reason = models.TextField(blank=True, help_text="Why it waits or failed, in a sentence.")
    waiting_until = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0, help_text="Counted failures in a row.")
    trouble_since = models.DateTimeField(null=True, help_text="When the present row of failures and waits began.")
    failing_since = models.DateTimeField(null=True, help_text="When the present row of counted failures began.")
    crashes = models.PositiveIntegerField(
        default=0, help_text="Claims in a row that ended without outcome or progress."
    )
    round = models.PositiveIntegerField(  # or for its mails once more
        default=0, help_text="How often an operator asked for another try."
    )

    fence = models.PositiveBigIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    worker = models.CharField(max_length=200, blank=True)

    generation = models.PositiveIntegerField(default=0, help_text="Changes whenever the archive's bytes may differ.")
    archive_name = models.CharField(max_length=255, blank=True)
    archive_size = models.PositiveBigIntegerField(null=True)
    archive_sha256 = models.CharField(max_length=64, blank=True)
    warnings = models.JSONField(default=list, blank=True, help_text="What is not in the archive, and why.")
    statistics = models.JSONField(default=list, blank=True, help_text="Key statistics: label, value, number, unit.")
    notes = models.JSONField(default=list, blank=True, help_text="What to know before trusting the numbers.")
    contents = models.JSONField(default=dict, blank=True, help_text="What is in the archive: files, bytes, names.")
    checkpoint = models.JSONField(null=True)
    sent_bytes = models.PositiveBigIntegerField(default=0)
    sent_digest = models.JSONField(null=True, help_text="Of the bytes that the checkpoint stands for: bytes, sha256.")
    done_bytes = models.PositiveBigIntegerField(default=0, help_text="How far the stage is.")
    total_bytes = models.PositiveBigIntegerField(default=0, help_text="How far it has to go; 0: not known.")
    rate = models.FloatField(null=True, help_text="Bytes a second of late; null: not known.")
    told_at = models.DateTimeField(null=True, help_text="When its worker has said so.")
    stage_since = models.DateTimeField(null=True)
    stored = models.JSONField(null=True, help_text="What the storage service has confirmed to hold.")
    stored_backend = models.CharField(max_length=200, blank=True)
    link = models.TextField(blank=True)
    link_expires = models.DateTimeField(null=True)
    keep_days = models.PositiveIntegerField(default=0)
    kept_until = models.DateField(null=True, help_text="Until when somebody asked on its page to have it kept.")
    relink_at = models.DateTimeField(null=True, help_text="When the service is asked to let the link live as long.")
    page_key = models.CharField(  # noqa: DJ001 - unique, so that those without one have none
        max_length=43, null=True, unique=True, help_text="Of the address of its page; another one revokes the last."
    )

    received_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, help_text="First claim.")
    ended_at = models.DateTimeField(null=True, help_text="When it was delivered, failed or cancelled.")
    wake_at = models.DateTimeField(null=True, help_text="When the sweep wakes it, should nobody have come.")
    wake_seconds = models.FloatField(default=0, help_text="How long the sweep then waits before it does so again.")

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ["-received_at"]
        indexes = [
            models.Index(fields=["state", "received_at"], name="delivery_state"),
            models.Index(fields=["simulation_id"], name="delivery_simulation"),
            models.Index(fields=["campaign_id", "publisher", "ended_at"], name="delivery_campaign"),
            models.Index(fields=["wake_at"], name="delivery_wake", condition=Q(wake_at__isnull=False)),
            models.Index(fields=["relink_at"], name="delivery_relink", condition=Q(relink_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.title or self.simulation_id


class Step(models.Model):
    """What was done for a delivery, and when. Rows are only added."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="steps")
    at = models.DateTimeField()
    what = models.CharField(max_length=20, choices=StepKind.choices)
    worker = models.CharField(max_length=200, blank=True)
    size = models.PositiveBigIntegerField(null=True)
    sha256 = models.CharField(max_length=64, blank=True)
    detail = models.TextField(blank=True)

    class Meta:
        ordering = ["at", "id"]

    def __str__(self) -> str:
        return f"{self.get_what_display()}: {self.detail}" if self.detail else self.get_what_display()


class Picture(models.Model):
    """A plot of a delivery's results, drawn when they were read."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="pictures")
    title = models.CharField(max_length=300)
    note = models.CharField(max_length=300, blank=True)
    alt = models.TextField(blank=True, help_text="What can be seen on it, for those who do not see it.")
    png = models.BinaryField()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.title


class Placement(models.Model):
    """A place at a storage service that was promised to a delivery, written before the first byte goes there."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="placements")
    backend = models.CharField(max_length=200)
    generation = models.PositiveIntegerField()
    key = models.TextField()
    stored = models.JSONField(null=True)
    placed_at = models.DateTimeField()
    remove_at = models.DateTimeField(null=True, help_text="When it is looked at whether the file is to be removed.")
    remove_tries = models.PositiveIntegerField(default=0)

    class Meta:
        indexes = [models.Index(fields=["remove_at"], name="placement_remove", condition=Q(remove_at__isnull=False))]
        constraints = [
            models.UniqueConstraint(fields=["delivery", "backend", "generation"], name="one_placement_per_generation")
        ]

    def __str__(self) -> str:
        return f"{self.backend}: {self.key}"


class Notification(models.Model):
    """One mail that is owed to one recipient: about a delivery, about a campaign, or, to an operator, about others.

    What a delivery of a campaign has to tell is GATHERED, and told by the ``digest`` that it belongs to.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="notifications", null=True)
    digest = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        related_name="gathered",
        null=True,
        help_text="The mail that tells it together with others.",
    )
    about = models.CharField(max_length=250, blank=True, help_text="What it is about, if not a delivery.")
    text = models.TextField(blank=True, help_text="What it tells, if it is not about a delivery.")
    recipient = models.CharField(max_length=254)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    occasion = models.PositiveIntegerField(default=0, help_text="Tells repeated mails of one kind apart.")
    state = models.CharField(max_length=10, choices=NoticeState.choices, default=NoticeState.PENDING)
    reason = models.TextField(blank=True)
    attempts = models.PositiveIntegerField(default=0)
    trouble_since = models.DateTimeField(null=True)
    due_at = models.DateTimeField()
    fence = models.PositiveBigIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    data_started = models.BooleanField(default=False, help_text="SMTP's DATA has begun and its answer is not known.")
    uncertain = models.PositiveIntegerField(
        default=0, help_text="How often it was sent again without knowing whether it had been sent."
    )
    keep_until = models.DateField(null=True, help_text="The date that the mail states; fixed at the claim.")
    created_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)
    wake_at = models.DateTimeField(null=True)
    wake_seconds = models.FloatField(default=0)

    class Meta:
        verbose_name = "mail"
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["delivery", "recipient", "kind", "occasion"], name="one_mail_per_occasion")
        ]
        indexes = [
            models.Index(fields=["wake_at"], name="notification_wake", condition=Q(wake_at__isnull=False)),
            models.Index(fields=["state", "digest"], name="notification_state"),
        ]

    def __str__(self) -> str:
        return f"{self.recipient}, {MAIL_ABOUT[self.kind]}"


class DeadLetter(models.Model):
    """A message that no consumer could make sense of, kept unchanged."""

    digest = models.CharField(max_length=64, help_text="SHA-256 of the body.")
    body = models.BinaryField()
    headers = models.JSONField(default=dict)
    queue = models.CharField(max_length=255, blank=True)
    publisher = models.CharField(max_length=255, blank=True)
    reason = models.TextField()
    times = models.PositiveIntegerField(default=1, help_text="How often this body arrived.")
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, help_text="When it was replayed or discarded.")
    closed_as = models.CharField(max_length=10, blank=True)

    class Meta:
        verbose_name = "dead letter"
        ordering = ["-last_at"]
        constraints = [
            models.UniqueConstraint(fields=["digest"], condition=Q(closed_at__isnull=True), name="one_open_per_digest")
        ]

    def __str__(self) -> str:
        return f"{self.queue}: {self.reason}"[:100]


class Lock(models.Model):
    """A lock that one process of the installation holds for a time, by the database's clock."""

    name = models.CharField(max_length=50, primary_key=True)
    holder = models.CharField(max_length=200)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class SignInTries(models.Model):
    """How often somebody tried to sign in to the site, by account or address, since the first of these tries."""

    key = models.CharField(max_length=64, primary_key=True, help_text="A keyed digest.")
    times = models.PositiveIntegerField(default=0)
    since = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.key
