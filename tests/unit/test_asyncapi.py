"""docs/asyncapi.yaml says what the code does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from messaging.messages import KINDS, schemas
from messaging.topology import Topology
from tests.support.docs import with_schemas

FILE = Path(__file__).parent.parent.parent / "docs" / "asyncapi.yaml"
GOLDEN = sorted((Path(__file__).parent.parent / "fixtures" / "messages").glob("*.json"))


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    loaded = yaml.safe_load(FILE.read_text("utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def test_the_schemas_are_those_of_the_code() -> None:
    text = FILE.read_text("utf-8")

    assert with_schemas(text) == text, "run scripts/docs"


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_the_one_that_simcourier_schema_prints(document: dict[str, Any], kind: str) -> None:
    expected = json.loads(json.dumps(schemas()[kind]).replace("#/$defs/", "#/components/schemas/"))
    definitions = expected.pop("$defs")
    found = document["components"]["schemas"]

    assert found[expected["title"]] == expected
    assert {name: found[name] for name in definitions} == definitions


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.name)
def test_a_golden_message_keeps_the_schema_that_its_channel_names(document: dict[str, Any], file: Path) -> None:
    example = json.loads(file.read_bytes())
    (message,) = (one for one in document["components"]["messages"].values() if one["name"] == example["type"])

    jsonschema.Draft202012Validator(document | message["payload"]).validate(example)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(document | message["payload"]).validate(example | {"specversion": "0.3"})


def test_the_channels_are_the_routing_keys_and_queues_of_the_topology(document: dict[str, Any]) -> None:
    channels = document["channels"].values()

    assert {channel["address"]: tuple(channel["x-queues"]) for channel in channels} == Topology().bindings
    assert len(document["channels"]) == len(Topology().bindings)


def test_every_channel_is_published_to_the_durable_topic_exchange(document: dict[str, Any]) -> None:
    for channel in document["channels"].values():
        binding = channel["bindings"]["amqp"]

        assert binding["is"] == "routingKey"
        assert binding["exchange"] == {
            "name": Topology().exchange,
            "type": "topic",
            "durable": True,
            "autoDelete": False,
        }


def test_every_message_of_the_code_travels_in_a_channel(document: dict[str, Any]) -> None:
    names = {
        resolve(document, message["$ref"])["name"]
        for channel in document["channels"].values()
        for message in channel["messages"].values()
    }

    assert names == set(KINDS)


def test_it_has_the_form_of_asyncapi_3(document: dict[str, Any]) -> None:
    """The rules of https://www.asyncapi.com/docs/reference/specification/v3.0.0 that bear on what is used here."""
    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= document["info"].keys()
    assert all({"host", "protocol"} <= server.keys() for server in document["servers"].values())
    operations = document["operations"].values()
    assert {operation["action"] for operation in operations} == {"send", "receive"}
    assert {operation["channel"]["$ref"] for operation in operations} == {
        f"#/channels/{name}" for name in document["channels"]
    }


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in set(references(document)):
        assert resolve(document, reference)


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def resolve(document: dict[str, Any], reference: str) -> dict[str, Any]:
    assert reference.startswith("#/")
    found = document
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found
