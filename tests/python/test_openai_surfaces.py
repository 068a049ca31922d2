"""The official OpenAI client on everything beyond a plain chat: thinking, schemas, parallel tools,
text completions, Responses, files and batches."""

import json
import time

import openai
import pydantic
import pytest

from conversations import ASK_BOTH, ASK_WEATHER, BOTH_TOLD, HELLO, LONG, MODEL, WEATHER, both_at_once, weather_of
from scripted import Turn

TOOL = {"type": "function", "function": {"name": "get_weather", "description": "The weather now.", "parameters": WEATHER}}
FLAT_TOOL = {"type": "function", "name": "get_weather", "description": "The weather now.", "parameters": WEATHER, "strict": True}


class City(pydantic.BaseModel):
    name: str
    inhabitants: int


@pytest.fixture
def client(endpoint):
    with openai.OpenAI(base_url=endpoint.url + "/v1", api_key=endpoint.key, max_retries=0) as client:
        yield client


def client_of(gateway):
    return openai.OpenAI(base_url=gateway.url + "/v1", api_key=gateway.key, max_retries=0)


def user(text):
    return [{"role": "user", "content": text}]


# --- chat completions


@pytest.mark.gateway
@pytest.mark.parametrize("effort", ["none", "high", "max"])
@pytest.mark.parametrize("stream", [False, True])
def test_thinking_is_off_high_or_max_as_asked(client, effort, stream):
    if stream:
        with client.chat.completions.stream(
            model=MODEL, messages=user(HELLO), reasoning_effort=effort, stream_options={"include_usage": True}
        ) as events:
            chunks = [event.chunk for event in events if event.type == "chunk"]
            answer = events.get_final_completion()
        deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
        thought = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    else:
        answer = client.chat.completions.create(model=MODEL, messages=user(HELLO), reasoning_effort=effort)
        thought = getattr(answer.choices[0].message, "reasoning_content", None) or ""
    assert answer.choices[0].message.content
    assert bool(thought) == (effort != "none")
    details = answer.usage.completion_tokens_details
    assert bool(details and details.reasoning_tokens) == (effort != "none")


def test_a_schema_is_parsed_into_its_class(client):
    answer = client.chat.completions.parse(model=MODEL, messages=user("Turku in JSON."), response_format=City)
    assert isinstance(answer.choices[0].message.parsed, City)


def test_a_streamed_schema_is_parsed_into_its_class(client):
    with client.chat.completions.stream(model=MODEL, messages=user("Turku in JSON."), response_format=City) as events:
        assert isinstance(events.get_final_completion().choices[0].message.parsed, City)


def test_a_strict_tool_is_parsed(client):
    tool = openai.pydantic_function_tool(City, name="keep_city", description="Keeps a city.")
    answer = client.chat.completions.parse(model=MODEL, messages=user("Keep Turku."), tools=[tool])
    (call,) = answer.choices[0].message.tool_calls
    assert isinstance(call.function.parsed_arguments, City)


@pytest.mark.parametrize("stream", [False, True])
def test_parallel_calls_and_their_results(scripted, stream):
    gateway = scripted(both_at_once(Turn))
    with client_of(gateway) as client:
        messages = user(ASK_BOTH)

        def ask():
            if not stream:
                return client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL])
            with client.chat.completions.stream(model=MODEL, messages=messages, tools=[TOOL]) as events:
                return events.get_final_completion()

        message = ask().choices[0].message
        calls = message.tool_calls
        assert [json.loads(call.function.arguments) for call in calls] == [{"place": "Turku"}, {"place": "Oulu"}]
        assert calls[0].id != calls[1].id
        # The reasoning that led to the calls is left out, as most clients leave it out.
        messages.append({
            "role": "assistant", "content": message.content,
            "tool_calls": [{"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": call.function.arguments}} for call in calls],
        })
        for call in reversed(calls):
            messages.append({"role": "tool", "tool_call_id": call.id, "content": weather_of(json.loads(call.function.arguments)["place"])})
        assert ask().choices[0].message.content == BOTH_TOLD
    assert gateway.host.refusals == []


@pytest.mark.gateway
def test_a_long_stream_that_is_left_is_over(client):
    stream = client.chat.completions.create(model=MODEL, messages=user(LONG), stream=True)
    for _, chunk in zip(range(5), stream):
        assert chunk.choices
    stream.close()
    assert client.chat.completions.create(model=MODEL, messages=user(HELLO)).choices


def test_a_key_without_money_is_402_and_never_tried_again(scripted):
    gateway = scripted(lambda body: Turn("hello"))
    key = gateway.run("key", "create", "--team", "poor", "--budget", "0.000001/month", "--json")["key"]
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key=key, max_retries=3) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            client.chat.completions.create(model=MODEL, messages=user(HELLO))
    assert caught.value.status_code == 402 and caught.value.code == "budget_exceeded"
    assert gateway.host.requests == []


# --- text completions


@pytest.mark.gateway
@pytest.mark.parametrize("suffix", [None, "    return total\n"])
def test_a_text_is_completed(client, suffix):
    answer = client.completions.create(model=MODEL, prompt="def add(a, b):\n", suffix=suffix, max_tokens=40)
    assert answer.object == "text_completion"
    assert answer.choices[0].text and answer.choices[0].finish_reason in ("stop", "length")
    assert 0 < answer.usage.completion_tokens <= 40


@pytest.mark.gateway
def test_a_text_is_completed_in_a_stream(client):
    chunks = list(client.completions.create(
        model=MODEL, prompt="Once upon a time", max_tokens=40, stream=True, stream_options={"include_usage": True}
    ))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] in ("stop", "length")
    assert chunks[-1].usage.completion_tokens > 0


# --- Responses


def test_a_response(client):
    response = client.responses.create(model=MODEL, input=HELLO, store=False)
    assert response.object == "response" and response.status == "completed"
    assert response.output_text
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert response.error is None and response.incomplete_details is None


def test_a_response_with_instructions_and_turns(client):
    response = client.responses.create(model=MODEL, instructions="Be brief.", store=False, input=[
        {"role": "developer", "content": "Answer in English."},
        {"role": "user", "content": [{"type": "input_text", "text": HELLO}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Hello.", "annotations": []}], "type": "message", "id": "msg_1", "status": "completed"},
        {"role": "user", "content": "And again."},
    ])
    assert response.output_text


@pytest.mark.gateway
def test_a_response_in_events_in_their_order(client):
    events = list(client.responses.create(model=MODEL, input=HELLO, stream=True, store=False))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == events[-1].response.output_text
    for begin, end in [
        ("response.output_item.added", "response.output_item.done"),
        ("response.content_part.added", "response.content_part.done"),
    ]:
        assert kinds.count(begin) == kinds.count(end) > 0


def test_the_clients_own_responses_stream(client):
    with client.responses.stream(model=MODEL, input=HELLO, store=False) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_response()
    assert {"response.created", "response.output_text.delta", "response.completed"} <= kinds
    assert final.output_text


@pytest.mark.gateway
@pytest.mark.parametrize("effort", ["none", "high", "max"])
def test_a_response_thinks_as_asked(client, effort):
    response = client.responses.create(model=MODEL, input=HELLO, reasoning={"effort": effort}, store=False)
    thought = [item for item in response.output if item.type == "reasoning"]
    assert bool(thought) == (effort != "none")
    assert bool(response.usage.output_tokens_details.reasoning_tokens) == (effort != "none")
    assert response.output_text


@pytest.mark.gateway
def test_a_response_that_is_cut_is_incomplete(client):
    response = client.responses.create(model=MODEL, input=LONG, max_output_tokens=40, store=False)
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"


def test_a_response_in_a_schema(client):
    response = client.responses.parse(model=MODEL, input="Turku in JSON.", text_format=City, store=False)
    assert isinstance(response.output_parsed, City)


@pytest.mark.gateway
def test_a_response_in_json_mode(client):
    response = client.responses.create(model=MODEL, input="Turku in JSON.", text={"format": {"type": "json_object"}}, store=False)
    assert isinstance(json.loads(response.output_text), dict)


def test_a_responses_tool_there_and_back(client):
    items = [{"role": "user", "content": ASK_WEATHER}]
    first = client.responses.create(model=MODEL, input=items, tools=[FLAT_TOOL], store=False, include=["reasoning.encrypted_content"])
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert call.name == "get_weather" and isinstance(json.loads(call.arguments), dict)
    items += [item.model_dump(exclude_none=True) for item in first.output]
    items.append({"type": "function_call_output", "call_id": call.call_id, "output": "4 degrees, rain"})
    second = client.responses.create(model=MODEL, input=items, tools=[FLAT_TOOL], store=False)
    assert second.output_text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kept", [False, True])
def test_parallel_calls_of_a_response(scripted, stream, kept):
    """With the reasoning items sent back, or with `previous_response_id` and the results alone."""
    gateway = scripted(both_at_once(Turn))
    with client_of(gateway) as client:

        def ask(items, **more):
            if not stream:
                return client.responses.create(model=MODEL, input=items, tools=[FLAT_TOOL], store=kept, **more)
            with client.responses.stream(model=MODEL, input=items, tools=[FLAT_TOOL], store=kept, **more) as events:
                for _ in events:
                    pass
                return events.get_final_response()

        items = user(ASK_BOTH)
        first = ask(items, include=["reasoning.encrypted_content"])
        calls = [item for item in first.output if item.type == "function_call"]
        assert [json.loads(call.arguments) for call in calls] == [{"place": "Turku"}, {"place": "Oulu"}]
        results = [
            {"type": "function_call_output", "call_id": call.call_id, "output": weather_of(json.loads(call.arguments)["place"])}
            for call in calls
        ]
        if kept:
            second = ask(results, previous_response_id=first.id)
        else:
            second = ask(items + [
                item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in first.output
            ] + results)
        assert second.output_text == BOTH_TOLD
    assert gateway.host.refusals == []


@pytest.mark.gateway
def test_a_response_is_kept_gone_on_from_and_deleted(client):
    first = client.responses.create(model=MODEL, input="My name is Aino.")
    assert client.responses.retrieve(first.id).output_text == first.output_text
    items = client.responses.input_items.list(first.id).data
    assert [item.role for item in items] == ["user"]
    second = client.responses.create(model=MODEL, input="What is my name?", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert second.usage.input_tokens > first.usage.input_tokens
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)


@pytest.mark.gateway
def test_a_response_that_is_not_kept_is_not_found(client):
    first = client.responses.create(model=MODEL, input=HELLO, store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    with pytest.raises((openai.NotFoundError, openai.BadRequestError)):
        client.responses.create(model=MODEL, input="And?", previous_response_id=first.id)


@pytest.mark.gateway
def test_a_response_stream_that_is_left_leaves_the_client_usable(client):
    stream = client.responses.create(model=MODEL, input=LONG, stream=True, store=False)
    for _, _event in zip(range(5), stream):
        pass
    stream.close()
    assert client.responses.create(model=MODEL, input=HELLO, store=False).output_text


@pytest.mark.gateway
@pytest.mark.parametrize("asks", ["chat", "completions", "responses"])
def test_the_classes_of_errors(endpoint, client, asks):
    def ask(client, model=MODEL, **more):
        match asks:
            case "chat":
                return client.chat.completions.create(model=model, messages=user(HELLO), **more)
            case "completions":
                return client.completions.create(model=model, prompt=HELLO, **more)
            case "responses":
                return client.responses.create(model=model, input=HELLO, store=False, **more)

    with openai.OpenAI(base_url=endpoint.url + "/v1", api_key="tg_wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError) as caught:
            ask(stranger)
        assert caught.value.code == "invalid_key"
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, model="gpt-7")
    assert caught.value.code == "invalid_request" and caught.value.param == "model"
    with pytest.raises(openai.PermissionDeniedError) as caught:
        ask(client, extra_headers={"x-tollgate-tags": "nonexistent-standard"})
    assert caught.value.code == "no_certified_backend"


# --- files, batches, models


def line(number, url="/v1/chat/completions", **body):
    return {"custom_id": f"request-{number}", "method": "POST", "url": url, "body": body}


def upload(client, lines):
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    return client.files.create(file=("requests.jsonl", content), purpose="batch")


def ended(client, batch):
    deadline = time.monotonic() + 60
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        assert time.monotonic() < deadline, batch
        time.sleep(0.1)
        batch = client.batches.retrieve(batch.id)
    return batch


@pytest.mark.gateway
def test_files_are_kept_listed_read_and_deleted(client):
    file = upload(client, [line(1, model=MODEL, messages=user(HELLO))])
    assert file.object == "file" and file.purpose == "batch" and file.filename == "requests.jsonl" and file.bytes > 0
    assert client.files.retrieve(file.id).id == file.id
    assert file.id in {one.id for one in client.files.list().data}
    assert json.loads(client.files.content(file.id).text)["custom_id"] == "request-1"
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


@pytest.mark.gateway
@pytest.mark.parametrize("url", ["/v1/chat/completions", "/v1/responses", "/v1/completions"])
def test_a_batch_is_answered_line_by_line(client, url):
    asked = {"/v1/chat/completions": {"messages": user(HELLO)}, "/v1/responses": {"input": HELLO}, "/v1/completions": {"prompt": HELLO}}[url]
    file = upload(client, [line(number, url, model=MODEL, max_tokens=40, **asked) if url != "/v1/responses" else line(number, url, model=MODEL, **asked) for number in range(3)])
    batch = client.batches.create(input_file_id=file.id, endpoint=url, completion_window="24h", metadata={"what": "a test"})
    assert batch.object == "batch" and batch.input_file_id == file.id
    batch = ended(client, batch)
    assert batch.status == "completed", batch
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (3, 3, 0)
    assert batch.metadata == {"what": "a test"}
    answers = [json.loads(text) for text in client.files.content(batch.output_file_id).text.splitlines()]
    assert {answer["custom_id"] for answer in answers} == {"request-0", "request-1", "request-2"}
    for answer in answers:
        assert answer["response"]["status_code"] == 200 and answer["error"] is None
        assert answer["response"]["body"]["usage"]
    assert batch.id in {one.id for one in client.batches.list().data}


@pytest.mark.gateway
def test_a_bad_line_of_a_batch_fails_alone(client):
    file = upload(client, [line(0, model=MODEL, messages=user(HELLO)), line(1, model="gpt-7", messages=user(HELLO))])
    batch = ended(client, client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"))
    assert batch.status == "completed", batch
    assert (batch.request_counts.completed, batch.request_counts.failed) == (1, 1)
    (failed,) = [json.loads(text) for text in client.files.content(batch.error_file_id).text.splitlines()]
    assert failed["custom_id"] == "request-1"
    assert "gpt-7" in json.dumps(failed)


@pytest.mark.gateway
def test_a_batch_of_an_unknown_file_is_refused(client):
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)):
        client.batches.create(input_file_id="file-nobody", endpoint="/v1/chat/completions", completion_window="24h")


def test_the_models(client):
    models = list(client.models.list())
    assert models and all(model.object == "model" and model.id for model in models)
