"""The messages, as CloudEvents 1.0 in structured mode (``application/cloudevents+json``).

Source of the envelope's rules: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md

A message carries no file bytes and no credentials: it says where the results lie (a claim check). Fields that are
not known are ignored, so that an older consumer reads a newer producer's message; a breaking change is a new version
in ``type``, and consumers set a version that they do not know aside unchanged.
"""

from __future__ import annotations

import hashlib
import json
import math
from codecs import BOM_UTF8
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from uuid import UUID, uuid4

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from messaging import mailboxes
from messaging.visible import visible

CONTENT_TYPE = "application/cloudevents+json"
LOG_TAIL_CHARACTERS = 4000
LONGEST_NAME = 60  # of a field, in a sentence

# Identifiers, titles and addresses end up in mail headers, database columns and file names, none of which can hold
# everything that Unicode calls a line break or a control character.
_ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
_RECIPIENT = r"^[^\s\x00-\x1f\x7f-\x9f@<>,;:\"\\]+@[^\s\x00-\x1f\x7f-\x9f@<>,;:\"\\]+$"
_LOCATION = r"^[a-z][a-z0-9+.-]*:[^\x00-\x1f\x7f]*$"
_EXPECTED = {
    _ONE_LINE: "one line without control characters is expected",
    _RECIPIENT: "a mail address such as anna@example.org is expected",
    _LOCATION: "an address with a scheme is expected, such as file:///home/anna/results",
}


def _scalar(value: object) -> object:
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError("a text, a finite number, true, false or null is expected")


def _at_most(count: int) -> BeforeValidator:
    """Refuse more entries before each is looked at: a million wrong ones would be a million errors."""

    def check(value: object) -> object:
        if isinstance(value, dict) and len(value) > count:
            raise ValueError(f"at most {count} entries are expected")
        return value

    return BeforeValidator(check)


def _told_in_utc(value: datetime | None) -> datetime | None:
    """None for a moment of the first or last hours that a calendar has, which in UTC is of no year any more."""
    try:
        if value is not None:
            value.astimezone(UTC)
    except OverflowError:
        return None
    return value


# Dropped, not refused: an event that was accepted before, and waits in a spool, a queue or the ledger, stays readable.
_Visible = BeforeValidator(lambda value: visible(value) if isinstance(value, str) else value)
Identifier = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=_ONE_LINE), _Visible
]
OneLine = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200, pattern=_ONE_LINE), _Visible]
Recipient = Annotated[
    str,
    StringConstraints(max_length=mailboxes.LONGEST, pattern=_RECIPIENT),
    _Visible,
    AfterValidator(mailboxes.one_form),
]
Scalar = Annotated[str | int | float | bool | None, BeforeValidator(_scalar), _Visible]
Moment = Annotated[AwareDatetime | None, AfterValidator(_told_in_utc)]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class InvalidMessage(ValueError):
    """The bytes are no message of a kind and version known here; the text says why in one sentence."""


class Lane(StrEnum):
    """Which queue an event waits in, so that a study of 10,000 runs does not stop everybody else."""

    SINGLE = "single"
    CAMPAIGN = "campaign"


class Outcome(StrEnum):
    """How the simulation ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Results(_Part):
    """Where the results lie: a ``file:`` or fsspec URL of a folder, without a password, and which files are meant."""

    location: Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=_LOCATION)]
    include: Annotated[tuple[Pattern, ...], FailFast()] = Field(default=(), max_length=100)
    exclude: Annotated[tuple[Pattern, ...], FailFast()] = Field(default=(), max_length=100)


class Campaign(_Part):
    """The parameter study that a run belongs to."""

    id: Identifier
    parameters: Annotated[dict[Identifier, Scalar], _at_most(200)] = Field(default_factory=dict, max_length=200)
    runs: int | None = Field(default=None, ge=1, description="Number of runs of the whole study, where known.")


class Completed(_Part):
    """A simulation has ended; its results wait to be collected."""

    simulation_id: Identifier
    title: OneLine = ""
    simulator: OneLine = ""
    configuration: Annotated[dict[Identifier, Scalar], _at_most(200)] = Field(default_factory=dict, max_length=200)
    outcome: Outcome = Outcome.SUCCEEDED
    exit_code: int | None = None
    started: Moment = None
    finished: Moment = None
    host: OneLine = ""
    log_tail: Annotated[str, StringConstraints(max_length=LOG_TAIL_CHARACTERS), _Visible] = ""
    results: Results
    backend: Identifier
    fallback_backends: Annotated[tuple[Identifier, ...], FailFast()] = Field(default=(), max_length=10)
    recipients: Annotated[tuple[Recipient, ...], FailFast()] = Field(min_length=1, max_length=100)
    campaign: Campaign | None = None
    labels: Annotated[dict[Identifier, OneLine], _at_most(50)] = Field(default_factory=dict, max_length=50)

    @property
    def lane(self) -> Lane:
        """The queue this event belongs to."""
        return Lane.CAMPAIGN if self.campaign else Lane.SINGLE


class Statistic(_Part):
    """One key statistic of a run, as text ready to be shown."""

    name: OneLine
    value: OneLine


class LinkReady(_Part):
    """The archive is stored and can be fetched."""

    delivery_id: UUID
    link: str
    expires: AwareDatetime | None = Field(default=None, description="When the link really ends; null: it does not.")
    archive: str
    size: int = Field(ge=0, description="Bytes.")
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    statistics: Annotated[tuple[Statistic, ...], FailFast()] = ()
    warnings: Annotated[tuple[str, ...], FailFast()] = ()


class Failed(_Part):
    """The delivery ended without a link; a person is told."""

    delivery_id: UUID
    stage: str
    reason: str = Field(description="One sentence that a researcher understands.")
    log_tail: str = ""
    next_step: str = Field(default="", description="What happens next, or what can be done.")


class Notice(_Part):
    """Something that only an operator can mend, or that it has mended itself."""

    notice_id: UUID = Field(description="One mail to one operator.")
    about: str = Field(description="What it is about, such as ``backend:dropbox``.")
    text: str = Field(description="A sentence for the operator.")


class Digest(_Part):
    """One mail about several runs of a campaign."""

    notice_id: UUID = Field(description="One mail to one recipient.")
    kind: str = Field(description="``digest``: how they ended; ``reminder``: their archives are about to be removed.")
    campaign: str = Field(description="Id of the parameter study.")
    runs: int = Field(ge=0, description="How many runs were gathered for it.")


class _Envelope(_Part):
    specversion: Literal["1.0"] = "1.0"
    id: UUID
    source: Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=_ONE_LINE)]
    time: AwareDatetime
    datacontenttype: Literal["application/json"] = "application/json"
    subject: str | None = None

    def to_bytes(self) -> bytes:
        """The body as it is published: UTF-8 JSON."""
        return self.model_dump_json(exclude_none=True).encode()


class SimulationCompleted(_Envelope):
    """``simulation.completed``; its id is the idempotency key of the whole delivery."""

    type: Literal["simcourier.simulation.completed.v1"] = "simcourier.simulation.completed.v1"
    data: Completed

    @classmethod
    def of(cls, data: Completed, *, source: str, time: datetime, event_id: UUID | None = None) -> Self:
        """Wrap ``data`` as a new event (``event_id``: give one to publish the same event again)."""
        return cls(id=event_id or uuid4(), source=source, time=time, subject=data.simulation_id, data=data)

    @property
    def routing_key(self) -> str:
        """Where the event is routed: by lane."""
        return f"simulation.completed.{self.data.lane}"


class LinkReadyMessage(_Envelope):
    """``link.ready``: a delivery has a link; wakes the email sender."""

    type: Literal["simcourier.link.ready.v1"] = "simcourier.link.ready.v1"
    data: LinkReady

    @property
    def routing_key(self) -> str:
        """Where the message is routed: to the email sender."""
        return "link.ready"


class DeliveryFailedMessage(_Envelope):
    """``delivery.failed``: a delivery ended without a link; wakes the email sender."""

    type: Literal["simcourier.delivery.failed.v1"] = "simcourier.delivery.failed.v1"
    data: Failed

    @property
    def routing_key(self) -> str:
        """Where the message is routed: to the email sender."""
        return "delivery.failed"


class OperatorNoticeMessage(_Envelope):
    """``operator.notice``: an operator is to know something; wakes the email sender."""

    type: Literal["simcourier.operator.notice.v1"] = "simcourier.operator.notice.v1"
    data: Notice

    @property
    def routing_key(self) -> str:
        """Where the message is routed: to the email sender."""
        return "operator.notice"


class CampaignDigestMessage(_Envelope):
    """``campaign.digest``: several runs of a campaign are to be told in one mail; wakes the email sender."""

    type: Literal["simcourier.campaign.digest.v1"] = "simcourier.campaign.digest.v1"
    data: Digest

    @property
    def routing_key(self) -> str:
        """Where the message is routed: to the email sender."""
        return "campaign.digest"


Message = SimulationCompleted | LinkReadyMessage | DeliveryFailedMessage | OperatorNoticeMessage | CampaignDigestMessage
KINDS: dict[str, type[Message]] = {
    kind.model_fields["type"].default: kind
    for kind in (
        SimulationCompleted,
        LinkReadyMessage,
        DeliveryFailedMessage,
        OperatorNoticeMessage,
        CampaignDigestMessage,
    )
}


def parse(body: bytes) -> Message:
    """Read a message.

    Raises:
        InvalidMessage: no UTF-8, no JSON, no CloudEvent, a type or version not known here, or a field that is wrong.
    """
    text = _text(body)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidMessage(f"The body is no JSON: {error}.") from error
    if not isinstance(document, dict) or "specversion" not in document:
        raise InvalidMessage("The body is no CloudEvent: a JSON object with 'specversion' is expected.")
    kind = KINDS.get(str(document.get("type")))
    if kind is None:
        named = repr(document.get("type"))[:100]
        raise InvalidMessage(f"The type {named} is not known here; known are {', '.join(KINDS)}.")
    try:
        # A type whose version is known holds what its model says; unknown fields are ignored by the models.
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise InvalidMessage(describe(error)) from error


def _text(body: bytes) -> str:
    """The body as text; from bytes, `json.loads` would guess between UTF-8, UTF-16 and UTF-32 (RFC 8259, 8.1)."""
    what = ""
    if b"\0" in body:
        what = "holds NUL bytes, as UTF-16 and UTF-32 have"
    elif body.startswith(BOM_UTF8):
        what = "begins with a byte order mark"
    if not what:
        try:
            return body.decode("utf-8")
        except UnicodeDecodeError as error:
            what = f"is no UTF-8 (byte {error.start} is wrong)"
    raise InvalidMessage(f"The body is no JSON in UTF-8: it {what}. Encode it anew.")


def parse_event(body: bytes) -> SimulationCompleted:
    """Read a message that must be a ``simulation.completed``.

    Raises:
        InvalidMessage: it is none, or none that can be read.
    """
    message = parse(body)
    if not isinstance(message, SimulationCompleted):
        raise InvalidMessage(f"A simulation.completed event is expected here, not {message.type}.")
    return message


def is_recipient(text: str) -> bool:
    """Whether an event may name this address."""
    try:
        TypeAdapter(Recipient).validate_python(text)
    except ValidationError:
        return False
    return text == visible(text)


def describe(error: ValidationError) -> str:
    """The first thing that is wrong, as one sentence that names the field; never the value of it."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(_shown(str(part)) for part in first["loc"]) or "the message"
    expected = _EXPECTED.get(first.get("ctx", {}).get("pattern", ""), first["msg"].removeprefix("Value error, "))
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return _printable(f"{field}: {expected}.{more}")


def _shown(name: str) -> str:
    """A name for a sentence: whoever wrote the message chose it, as long as he liked."""
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."


def _printable(text: str) -> str:
    """Without characters that no header, no column or no terminal takes: field names, what pydantic quotes."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def digest(body: bytes) -> str:
    """SHA-256 (hex) of the JSON document, whatever its white space, order of keys and time of publishing.

    Two bodies with one event id are the same event exactly if their digests agree. The envelope's ``time`` does not
    count: a command that publishes the same event again cannot know when it did so first.
    """
    document = json.loads(_text(body))
    document.pop("time", None)
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema (2020-12) of each message, by type."""
    return {name: kind.model_json_schema(mode="validation") for name, kind in KINDS.items()}
