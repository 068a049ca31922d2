"""The golden answers of the Responses dialect, held against the official client's own types.

The gateway's tests keep these files equal to what it says; here the client validates each of them
strictly, so that a field it does not know or lacks is seen without a gateway running."""

import json
from pathlib import Path

import pytest
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseItemList, ResponseStreamEvent
from openai._types import omit
from pydantic import BaseModel, TypeAdapter, ValidationError

GOLDEN = Path(__file__).parents[2] / "gateway/src/edge/surfaces/openai_responses/tests/golden"
STREAMS = sorted(path.name for path in GOLDEN.glob("*.sse"))
EVENT = TypeAdapter(ResponseStreamEvent)
# Sent beyond the types of this version of the client, and why.
BEYOND = {
    ("ResponseFunctionCallArgumentsDoneEvent", "name"),  # in the types of 2.x, and agents read it
    ("Response", "store"),  # the service repeats it; the types leave it out
    ("ResponseCustomToolCall", "status"),  # in the types of kept items, as of every other item
    ("Logprob", "bytes"),  # the types of a delta leave out what those of the item have
    ("LogprobTopLogprob", "bytes"),
}


def events(name):
    for block in (GOLDEN / name).read_text().split("\n\n"):
        if block and not block.startswith(":"):
            kind, data = block.split("\n", 1)
            yield kind.removeprefix("event: "), data.removeprefix("data: ")


def extras(value, found):
    """Fields that the client's types do not have."""
    if isinstance(value, BaseModel):
        found |= {(type(value).__name__, field) for field in value.model_extra or {}}
        for field in type(value).model_fields:
            extras(getattr(value, field), found)
    elif isinstance(value, dict):
        for inner in value.values():
            extras(inner, found)
    elif isinstance(value, list):
        for inner in value:
            extras(inner, found)
    return found


def test_there_are_streams_to_check():
    assert len(STREAMS) >= 4


@pytest.mark.parametrize("name", STREAMS)
def test_each_event_is_one_that_the_client_knows(name):
    for number, (kind, data) in enumerate(events(name)):
        event = EVENT.validate_json(data, strict=True)
        assert (event.type, event.sequence_number) == (kind, number)
        assert extras(event, set()) <= BEYOND, data


@pytest.mark.parametrize("name", STREAMS)
def test_the_clients_own_sum_is_the_response_that_ends_the_stream(name):
    state = ResponseStreamState(input_tools=omit, text_format=omit)
    last = None
    for _, data in events(name):
        last = EVENT.validate_json(data)
        state.handle_event(last)
    assert last.type == f"response.{last.response.status}"
    if last.type == "response.completed":
        assert state._completed_response.output_text == last.response.output_text


def test_a_plain_answer_is_a_response():
    response = Response.model_validate_json((GOLDEN / "whole.json").read_text(), strict=True)
    assert extras(response, set()) <= BEYOND
    assert response.output_text == "yes"
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_the_input_of_a_kept_answer_is_a_list_of_items():
    listed = ResponseItemList.model_validate_json((GOLDEN / "input_items.json").read_text(), strict=True)
    assert extras(listed, set()) <= BEYOND
    assert [item.id for item in (listed.data[0], listed.data[-1])] == [listed.first_id, listed.last_id]


def test_the_check_can_fail():
    broken = json.loads(next(data for kind, data in events(STREAMS[0]) if kind == "response.completed"))
    del broken["response"]["usage"]["input_tokens_details"]
    with pytest.raises(ValidationError):
        EVENT.validate_json(json.dumps(broken), strict=True)
