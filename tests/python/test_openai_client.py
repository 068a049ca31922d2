"""The official OpenAI client, unmodified: only its base URL and its key are ours."""

import json

import openai
import pytest

MODEL = "deepseek-v4-pro"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather at a place now.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}},
            "required": ["place"],
        },
    },
}


@pytest.fixture
def client(demo):
    with openai.OpenAI(base_url=demo.url + "/v1", api_key=demo.key, max_retries=0) as client:
        yield client


def ask(client, text="Say hello.", **more):
    return client.chat.completions.create(
        model=more.pop("model", MODEL), messages=[{"role": "user", "content": text}], **more
    )


def test_a_plain_answer(client):
    answer = ask(client, max_tokens=50)
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.prompt_tokens > 0
    assert 0 < usage.completion_tokens <= 50
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_a_stream_with_usage(client):
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] in ("stop", "length")
    told = [chunk.usage for chunk in chunks if chunk.usage]
    assert told and told[-1].completion_tokens > 0
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_without_usage_unless_asked(client):
    chunks = list(ask(client, stream=True))
    assert chunks and all(chunk.usage is None for chunk in chunks)
    assert all(chunk.choices for chunk in chunks)


def test_the_clients_own_stream_helper(client):
    with client.chat.completions.stream(
        model=MODEL, messages=[{"role": "user", "content": "Say hello."}]
    ) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta"} <= kinds
    assert final.choices[0].message.content


def test_a_stream_left_in_the_middle_leaves_the_client_usable(client):
    stream = ask(client, stream=True)
    next(iter(stream))
    stream.close()
    assert ask(client).choices


def test_tools_there_and_back(client):
    messages = [{"role": "user", "content": "What is the weather in Turku?"}]
    first = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])
    assert first.choices[0].finish_reason == "tool_calls"
    message = first.choices[0].message
    (call,) = message.tool_calls
    assert call.function.name == "get_weather"
    assert isinstance(json.loads(call.function.arguments), dict)

    messages += [
        message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": '{"sky": "clear", "degrees": -3}'},
    ]
    second = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])
    assert second.choices[0].finish_reason == "stop"
    assert second.choices[0].message.content


def test_streamed_tool_calls_join_to_the_same(client):
    chunks = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "What is the weather in Turku?"}],
        tools=[WEATHER], stream=True,
    )
    names, arguments = [], ""
    for chunk in chunks:
        for call in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            names += [call.function.name] if call.function.name else []
            arguments += call.function.arguments or ""
    assert names == ["get_weather"]
    assert isinstance(json.loads(arguments), dict)


def test_json_mode(client):
    answer = ask(client, "Answer in JSON: which is the capital of Finland?",
                 response_format={"type": "json_object"})
    assert isinstance(json.loads(answer.choices[0].message.content), dict)


def test_the_models_list(client):
    models = client.models.list().data
    assert MODEL in {model.id for model in models}
    assert all(model.object == "model" for model in models)


def test_what_the_gateway_tells_in_headers(client):
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": "Say hello."}]
    )
    assert raw.parse().choices
    for header in ("x-tollgate-request-id", "x-tollgate-backend", "x-tollgate-cost"):
        assert raw.headers.get(header), header
    assert raw.headers["x-tollgate-attempts"] == "1"


def test_a_wrong_key_is_an_authentication_error(demo):
    client = openai.OpenAI(base_url=demo.url + "/v1", api_key="tg_wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError) as caught:
        ask(client)
    assert caught.value.code == "invalid_key"


def test_an_unknown_model_is_a_bad_request_that_names_the_known(client):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, model="gpt-7")
    assert caught.value.code == "invalid_request"
    assert caught.value.param == "model"
    assert "gpt-7" in caught.value.message and MODEL in caught.value.message


def test_an_ended_name_is_a_bad_request_that_names_its_successor(client):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, model="deepseek-chat")
    assert "deepseek-v4-flash" in caught.value.message


def test_a_demand_that_nobody_answers_is_a_permission_error(client):
    with pytest.raises(openai.PermissionDeniedError) as caught:
        ask(client, extra_headers={"x-tollgate-tags": "nonexistent-standard"})
    assert caught.value.code == "no_certified_backend"
    assert caught.value.body["backends"]


def test_a_road_that_does_not_exist_is_not_found(client):
    with pytest.raises(openai.NotFoundError):
        client.post("/nowhere", cast_to=object, body={})


@pytest.mark.parametrize("stream", [False, True])
def test_many_at_once(demo, stream):
    import asyncio

    async def all_of_them():
        async with openai.AsyncOpenAI(base_url=demo.url + "/v1", api_key=demo.key, max_retries=0) as client:
            async def one(number):
                answer = await client.chat.completions.create(
                    model=MODEL, messages=[{"role": "user", "content": f"Count to {number}."}],
                    stream=stream,
                )
                if stream:
                    return [chunk async for chunk in answer][-1].choices[0].finish_reason
                return answer.choices[0].finish_reason
            return await asyncio.gather(*(one(number) for number in range(50)))

    assert set(asyncio.run(all_of_them())) <= {"stop", "length"}
