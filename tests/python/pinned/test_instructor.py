"""instructor on the OpenAI and the Anthropic client: what it asks for is a validated class."""

import anthropic
import instructor
import openai
import pytest
from pydantic import BaseModel

from conversations import MODEL
from scripted import Turn


class City(BaseModel):
    name: str
    inhabitants: int


def openai_of(endpoint):
    return openai.OpenAI(base_url=endpoint.url + "/v1", api_key=endpoint.key, max_retries=0)


def anthropic_of(endpoint):
    return anthropic.Anthropic(base_url=endpoint.url, api_key=endpoint.key, max_retries=0)


def asked(client, **more):
    return client.create(model=MODEL, messages=[{"role": "user", "content": "Turku in JSON."}], response_model=City, max_retries=0, **more)


@pytest.mark.parametrize("mode", [instructor.Mode.JSON_SCHEMA, instructor.Mode.TOOLS])
def test_a_class_by_chat_completions(endpoint, mode):
    # TOOLS forces a call, which not every host does while it thinks.
    client = instructor.from_openai(openai_of(endpoint), mode=mode)
    assert isinstance(asked(client, max_tokens=1000, reasoning_effort="none"), City)


@pytest.mark.parametrize("mode", [instructor.Mode.JSON, instructor.Mode.MD_JSON])
def test_a_class_begged_for_in_words(scripted, mode):
    """The schema stands in the prompt alone."""
    fence = "```json\n%s\n```" if mode == instructor.Mode.MD_JSON else "%s"
    gateway = scripted(lambda body: Turn(fence % '{"name": "Turku", "inhabitants": 208000}', reasoning="A town."))
    city = asked(instructor.from_openai(openai_of(gateway), mode=mode))
    assert (city.name, city.inhabitants) == ("Turku", 208000)
    formats = [request.get("response_format") for request in gateway.host.requests]
    assert formats == [{"type": "json_object"} if mode == instructor.Mode.JSON else None]


def test_a_class_by_responses(endpoint):
    client = instructor.from_openai(openai_of(endpoint), mode=instructor.Mode.RESPONSES_TOOLS)
    assert isinstance(asked(client, reasoning={"effort": "none"}), City)


def test_a_class_by_messages(endpoint):
    client = instructor.from_anthropic(anthropic_of(endpoint), mode=instructor.Mode.TOOLS)
    assert isinstance(asked(client, max_tokens=1000, thinking={"type": "disabled"}), City)


def test_several_of_a_class(endpoint):
    client = instructor.from_openai(openai_of(endpoint), mode=instructor.Mode.JSON_SCHEMA)
    cities = client.create(
        model=MODEL, messages=[{"role": "user", "content": "Cities in JSON."}], response_model=list[City], max_retries=0,
    )
    assert all(isinstance(city, City) for city in cities)


def test_a_class_that_grows_in_a_stream(endpoint):
    client = instructor.from_openai(openai_of(endpoint), mode=instructor.Mode.JSON_SCHEMA)
    states = list(client.create_partial(model=MODEL, messages=[{"role": "user", "content": "Turku in JSON."}], response_model=City, max_retries=0))
    assert states[-1].name and states[-1].inhabitants is not None
