"""The messages: golden files that must be read for ever, and what is refused."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest
from pydantic import BaseModel, ValidationError

from messaging.messages import (
    KINDS,
    Campaign,
    Completed,
    InvalidMessage,
    Lane,
    LinkReady,
    LinkReadyMessage,
    Results,
    SimulationCompleted,
    describe,
    digest,
    is_recipient,
    parse,
    parse_event,
    schemas,
)

GOLDEN = Path(__file__).parent.parent / "fixtures" / "messages"
FILES = sorted(GOLDEN.glob("*.json"))
SECRET = "hunter2-do-not-show"


def read(name: str) -> dict[str, Any]:
    document = json.loads((GOLDEN / name).read_bytes())
    assert isinstance(document, dict)
    return document


def event(**changes: Any) -> bytes:
    """The minimal event with changes in its data."""
    document = read("simulation.completed.v1.minimal.json")
    document["data"].update(changes)
    return json.dumps(document).encode()


def envelope(**changes: Any) -> bytes:
    """The minimal event with changes in its envelope."""
    return json.dumps(read("simulation.completed.v1.minimal.json") | changes).encode()


def refusal(body: bytes) -> str:
    with pytest.raises(InvalidMessage) as caught:
        parse(body)
    return str(caught.value)


def test_every_message_has_a_minimal_and_a_maximal_golden_file() -> None:
    names = {f"{kind.removeprefix('simcourier.')}.{size}.json" for kind in KINDS for size in ("minimal", "maximal")}

    assert {file.name for file in FILES} == names


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_golden_file_is_read_and_written_without_loss(file: Path) -> None:
    message = parse(file.read_bytes())

    assert message.type == f"simcourier.{file.name.rsplit('.', 2)[0]}"
    assert parse(message.to_bytes()) == message


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_golden_file_keeps_its_json_schema(file: Path) -> None:
    document = json.loads(file.read_bytes())

    jsonschema.validate(document, schemas()[document["type"]], format_checker=jsonschema.FormatChecker())


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("*.maximal.json")), ids=lambda file: file.name)
def test_a_maximal_golden_file_sets_every_field_and_is_written_as_it_was_read(file: Path) -> None:
    message = parse(file.read_bytes())

    assert unset_fields(message) == []
    assert json.loads(message.to_bytes()) == json.loads(file.read_bytes())


def unset_fields(part: BaseModel, path: str = "") -> list[str]:
    missing = [f"{path}{name}" for name in type(part).model_fields.keys() - part.model_fields_set]
    for name in part.model_fields_set:
        value = getattr(part, name)
        for inner in value if isinstance(value, tuple) else (value,):
            if isinstance(inner, BaseModel):
                missing += unset_fields(inner, f"{path}{name}.")
    return missing


def test_a_message_built_here_without_an_expiry_is_read_again() -> None:
    """Fields that are None are left out of the body; none of them may be required."""
    data = LinkReady(delivery_id=UUID(int=1), link="http://127.0.0.1/f/x", archive="a.zip", size=1, sha256="0" * 64)
    message = LinkReadyMessage(id=UUID(int=2), source="//here", time=datetime(2026, 11, 2, tzinfo=UTC), data=data)

    assert parse(message.to_bytes()) == message


def test_unknown_fields_are_ignored_everywhere() -> None:
    document = read("simulation.completed.v1.maximal.json")
    document["traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    document["data"]["priority"] = "high"
    document["data"]["results"]["compressed"] = True
    document["data"]["campaign"]["owner"] = {"name": "x"}

    assert parse(json.dumps(document).encode()) == parse(
        json.dumps(read("simulation.completed.v1.maximal.json")).encode()
    )


@pytest.mark.parametrize("kind", ["simcourier.simulation.completed.v2", "org.example.other", None, 5, ["v1"]])
def test_an_unknown_type_or_version_is_refused_with_the_known_ones(kind: object) -> None:
    text = refusal(envelope(type=kind))

    assert repr(kind) in text
    assert "simcourier.simulation.completed.v1" in text


def test_a_type_of_a_million_characters_does_not_fill_the_reason() -> None:
    assert len(refusal(envelope(type="x" * 1_000_000))) < 400


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[" * 100_000, b'{"specversion": "1.0"', b"?"],
    ids=repr,
)
def test_bytes_that_are_no_json_are_refused(body: bytes) -> None:
    assert refusal(body).startswith("The body is no JSON")


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"{}", b'{"type": "simcourier.simulation.completed.v1"}'])
def test_json_that_is_no_cloudevent_is_refused(body: bytes) -> None:
    assert refusal(body).startswith("The body is no CloudEvent")


@pytest.mark.parametrize("body", ["\ufeff".encode() + event(), event().decode().encode("utf-16")], ids=["bom", "utf16"])
def test_another_encoding_than_plain_utf8_is_refused(body: bytes) -> None:
    assert "JSON" in refusal(body)


@pytest.mark.parametrize("specversion", ["0.3", "1.1", 1, None])
def test_another_version_of_cloudevents_is_refused(specversion: object) -> None:
    assert refusal(envelope(specversion=specversion)).startswith("specversion: ")


@pytest.mark.parametrize("identifier", ["", "not-a-uuid", 7])
def test_an_event_id_that_is_no_uuid_is_refused(identifier: object) -> None:
    assert refusal(envelope(id=identifier)).startswith("id: ")


@pytest.mark.parametrize(
    "recipient", ["", "anna", "anna@", "@example.org", "a b@example.org", "a@x,b@x", "Anna <a@x>", "a@x\r\nBcc: b@x"]
)
def test_a_recipient_that_is_no_mail_address_is_refused(recipient: str) -> None:
    assert refusal(event(recipients=[recipient])).startswith("data.recipients.0: a mail address")


def test_an_event_without_recipients_is_refused() -> None:
    assert refusal(event(recipients=[])).startswith("data.recipients: ")


@pytest.mark.parametrize("field", ["title", "simulator", "host", "simulation_id", "backend"])
@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\x00", "\x0b", "\x85", "\u2028", "\u2029"], ids=ascii)
def test_a_line_break_or_control_character_in_a_title_or_identifier_is_refused(field: str, line_break: str) -> None:
    """All that str.splitlines takes for a line break: Python's email package refuses each of them in a header."""
    text = refusal(event(**{field: f"mm1{line_break}Bcc: all@example.org"}))

    assert text == f"data.{field}: one line without control characters is expected."


UNSEEN = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\u200b\u2060\u00ad\ufeff\U000e0041"


@pytest.mark.parametrize("character", UNSEEN, ids=ascii)
def test_what_nobody_sees_in_a_text_of_others_does_not_arrive(character: str) -> None:
    """A title "report<U+202E>gpj.exe" would be read "reportexe.jpg" in a mail, on a page and in a list."""

    def hiding(text: str) -> str:
        return f"{character}{text[:2]}{character}{text[2:]}{character}"

    plain: dict[str, Any] = {
        "simulation_id": "mm1-0001", "title": "report gpj.exe", "simulator": "OMNeT++", "host": "node7",
        "backend": "local", "fallback_backends": ["dropbox"], "log_tail": "line 1\nline 2",
        "recipients": ["anna@example.org"], "configuration": {"rho": "large"}, "labels": {"group": "A 7"},
        "campaign": {"id": "study", "parameters": {"buffer": "one"}},
    }  # fmt: skip

    def hidden_in(value: Any) -> Any:
        if isinstance(value, dict):
            keys_are_texts = value is not plain and "id" not in value
            return {hiding(key) if keys_are_texts and key != "parameters" else key: hidden_in(one)
                    for key, one in value.items()}  # fmt: skip
        return [hidden_in(one) for one in value] if isinstance(value, list) else hiding(value)

    assert parse_event(event(**hidden_in(plain))).data == parse_event(event(**plain)).data
    assert not is_recipient(hiding("anna@example.org"))


@pytest.mark.parametrize(
    "title", ["م\u200cخ", "क्\u200dष", "👩\u200d🔬 7", "Größe 3 µm, λ = 0.1", "12\u202f345 runs"], ids=ascii
)
def test_what_a_script_needs_to_be_read_stays(title: str) -> None:
    assert parse_event(event(title=title)).data.title == title


def test_white_space_around_an_identifier_is_dropped() -> None:
    assert parse_event(event(simulation_id="  mm1-0001\n")).data.simulation_id == "mm1-0001"


@pytest.mark.parametrize("field", ["simulation_id", "backend"])
def test_an_empty_identifier_is_refused(field: str) -> None:
    assert refusal(event(**{field: "  "})).startswith(f"data.{field}: ")


@pytest.mark.parametrize("location", ["", "/home/anna/results", "results", "C:\\results", "file:///a\nb"])
def test_a_location_that_is_no_address_with_a_scheme_is_refused(location: str) -> None:
    assert refusal(event(results={"location": location})).startswith("data.results.location: ")


@pytest.mark.parametrize("field", ["started", "finished"])
def test_a_time_without_a_zone_is_refused(field: str) -> None:
    assert "timezone" in refusal(event(**{field: "2026-11-02T09:30:00"}))


def test_an_event_time_without_a_zone_is_refused() -> None:
    assert refusal(envelope(time="2026-11-02T09:30:00")).startswith("time: ")


@pytest.mark.parametrize("value", [[1], {"a": 1}], ids=repr)
def test_a_parameter_that_is_no_plain_value_is_refused_in_one_sentence(value: object) -> None:
    assert refusal(event(configuration={"rho": value})) == (
        "data.configuration.rho: a text, a finite number, true, false or null is expected."
    )


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_number_that_json_cannot_hold_is_refused_when_the_event_is_built(value: float) -> None:
    """It would be written as null, and the researcher would read of a parameter that was never used."""
    with pytest.raises(ValidationError, match="finite number"):
        Campaign(id="study", parameters={"buffer": value})


def test_plain_values_keep_their_type_on_the_way() -> None:
    values = {"text": "1", "whole": 1, "float": 1.0, "true": True, "null": None, "large": 2**70}

    configuration = parse_event(event(configuration=values)).data.configuration

    assert {name: (type(value), value) for name, value in configuration.items()} == {
        name: (type(value), value) for name, value in values.items()
    }


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-16", "it holds NUL bytes, as UTF-16 and UTF-32 have"),
        ("utf-32", "it holds NUL bytes, as UTF-16 and UTF-32 have"),
        ("utf-16-le", "it holds NUL bytes, as UTF-16 and UTF-32 have"),
        ("utf-32-be", "it holds NUL bytes, as UTF-16 and UTF-32 have"),
        ("latin-1", "it is no UTF-8 (byte "),
        ("utf-8-sig", "it begins with a byte order mark"),
    ],
)
def test_a_message_in_another_encoding_than_utf_8_is_refused_and_told_so(encoding: str, said: str) -> None:
    document = json.loads(event(title="Größe")) | {"title": "Größe"}

    text = refusal(json.dumps(document, ensure_ascii=False).encode(encoding))

    assert text.startswith(f"The body is no JSON in UTF-8: {said}")
    assert text.endswith(". Encode it anew.")


def test_a_message_of_another_kind_is_no_event() -> None:
    with pytest.raises(InvalidMessage, match="event is expected here"):
        parse_event((GOLDEN / "link.ready.v1.minimal.json").read_bytes())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("recipients", [SECRET]),
        ("recipients", SECRET),
        ("simulation_id", SECRET + "\n!"),
        ("title", SECRET * 20),
        ("outcome", SECRET),
        ("started", SECRET),
        ("exit_code", SECRET),
        ("results", {"location": f"/{SECRET}"}),
        ("configuration", {"x": [SECRET]}),
        ("campaign", {"id": "study", "runs": SECRET}),
        ("labels", SECRET),
    ],
)
def test_a_refusal_names_the_field_and_never_shows_the_value(field: str, value: object) -> None:
    text = refusal(event(**{field: value}))

    assert f"data.{field}" in text
    assert SECRET not in text


@pytest.mark.parametrize("name", ["k" * 900_000, "a\n\x00b: \u2028", "\u202e\n" * 70], ids=["long", "lines", "odd"])
def test_a_refusal_shows_the_name_of_a_field_that_somebody_chose_short_and_on_one_line(name: str) -> None:
    """It travels in a header, which has a limit, and into a column that does not hold everything."""
    text = refusal(event(configuration={name: 1}))

    assert text.startswith("data.configuration.")
    assert len(text) < 200
    assert text.isprintable()


@pytest.mark.parametrize("identifier", ["a\nb", "a\x00b", "\r", "\u2028"], ids=ascii)
def test_a_refusal_quotes_no_character_that_a_header_or_a_column_does_not_take(identifier: str) -> None:
    assert refusal(envelope(id=identifier)).isprintable()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("recipients", [1] * 100_000),
        ("fallback_backends", [1] * 100_000),
        ("configuration", {str(number): [] for number in range(50_000)}),
        ("labels", {str(number): 1 for number in range(50_000)}),
        ("results", {"location": "file:///r", "include": [1] * 100_000}),
        ("campaign", {"id": "study", "parameters": {str(number): [] for number in range(50_000)}}),
    ],
    ids=["recipients", "fallbacks", "configuration", "labels", "patterns", "parameters"],
)
def test_a_hundred_thousand_wrong_entries_are_not_a_hundred_thousand_errors(field: str, value: object) -> None:
    with pytest.raises(InvalidMessage) as caught:
        parse(event(**{field: value}))

    assert isinstance(caught.value.__cause__, ValidationError)
    assert caught.value.__cause__.error_count() <= 2  # and that there are too many


def test_a_refusal_says_how_many_more_fields_are_wrong() -> None:
    with pytest.raises(ValidationError) as caught:
        Completed.model_validate(
            {"simulation_id": "x", "results": {}, "backend": "local", "recipients": ["a@x"], "title": 1}
        )

    assert describe(caught.value).endswith(" (1 more)")


def test_the_digest_ignores_white_space_and_the_order_of_keys() -> None:
    document = read("simulation.completed.v1.maximal.json")
    shuffled = {key: document[key] for key in reversed(document)}
    shuffled["data"] = {key: document["data"][key] for key in reversed(document["data"])}

    assert digest(json.dumps(document).encode()) == digest(json.dumps(shuffled, indent=4, ensure_ascii=False).encode())


@pytest.mark.parametrize("change", [{"title": "another"}, {"unknown": 1}, {"recipients": ["b@example.org"]}])
def test_the_digest_tells_another_body_apart(change: dict[str, Any]) -> None:
    assert digest(event()) != digest(event(**change))


@pytest.mark.parametrize(("campaign", "lane"), [(None, Lane.SINGLE), (Campaign(id="study"), Lane.CAMPAIGN)])
def test_a_run_of_a_campaign_takes_the_lane_of_campaigns(campaign: Campaign | None, lane: Lane) -> None:
    data = Completed(
        simulation_id="mm1",
        results=Results(location="file:///results"),
        backend="local",
        recipients=("anna@example.org",),
        campaign=campaign,
    )

    message = SimulationCompleted.of(data, source="//here", time=datetime(2026, 11, 2, tzinfo=UTC))

    assert message.routing_key == f"simulation.completed.{lane}"
    assert message.subject == "mm1"


def test_publishing_again_under_a_given_id_gives_the_same_bytes() -> None:
    data = parse_event(event()).data
    moment = datetime(2026, 11, 2, tzinfo=UTC)

    first, second = (
        SimulationCompleted.of(data, source="//here", time=moment, event_id=UUID(int=7)).to_bytes() for _ in range(2)
    )

    assert first == second
