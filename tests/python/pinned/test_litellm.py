"""LiteLLM as a client: its `openai/` provider on chat completions and Responses, its `anthropic/`
provider on Messages, with nothing but `api_base` and `api_key`."""

import json
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # No list of prices from the network.

import litellm
import pytest

from conversations import ASK_BOTH, ASK_WEATHER, BOTH_TOLD, HELLO, MODEL, WEATHER, both_at_once, weather_of
from scripted import Turn

TOOL = {"type": "function", "function": {"name": "get_weather", "description": "The weather now.", "parameters": WEATHER}}
PROVIDERS = ["openai", "anthropic"]

litellm.telemetry = False


def where(provider, url, key):
    return {
        "model": f"{provider}/{MODEL}", "api_key": key, "num_retries": 0, "max_retries": 0, "max_tokens": 1000,
        "api_base": url + "/v1" if provider == "openai" else url,
    }


@pytest.fixture(params=PROVIDERS)
def at(request, endpoint):
    return where(request.param, endpoint.url, endpoint.key)


def user(text):
    return [{"role": "user", "content": text}]


def test_a_plain_answer(at):
    answer = litellm.completion(messages=user(HELLO), **at)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens > 0 and answer.usage.completion_tokens > 0


def test_a_stream_adds_up(at):
    chunks = list(litellm.completion(messages=user(HELLO), stream=True, stream_options={"include_usage": True}, **at))
    whole = litellm.stream_chunk_builder(chunks, messages=user(HELLO))
    assert len(chunks) > 2 and whole.choices[0].message.content
    assert whole.usage.completion_tokens > 0


@pytest.mark.gateway
def test_reasoning_is_told(at):
    answer = litellm.completion(messages=user(HELLO), **at)
    assert answer.choices[0].message.get("reasoning_content") or at["model"].startswith("anthropic/")


def test_a_tool_there_and_back(at):
    messages = user(ASK_WEATHER)
    message = litellm.completion(messages=messages, tools=[TOOL], **at).choices[0].message
    (call,) = message.tool_calls
    assert call.function.name == "get_weather" and isinstance(json.loads(call.function.arguments), dict)
    messages += [message.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": "4 degrees, rain"}]
    assert litellm.completion(messages=messages, tools=[TOOL], **at).choices[0].message.content


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("stream", [False, True])
def test_parallel_calls_and_their_results(scripted, provider, stream):
    gateway = scripted(both_at_once(Turn))
    at = where(provider, gateway.url, gateway.key)

    def ask(messages):
        answer = litellm.completion(messages=messages, tools=[TOOL], stream=stream, **at)
        if stream:
            answer = litellm.stream_chunk_builder(list(answer), messages=messages)
        return answer.choices[0].message

    messages = user(ASK_BOTH)
    message = ask(messages)
    assert [json.loads(call.function.arguments) for call in message.tool_calls] == [{"place": "Turku"}, {"place": "Oulu"}]
    messages.append(message.model_dump())
    for call in message.tool_calls:
        messages.append({"role": "tool", "tool_call_id": call.id, "content": weather_of(json.loads(call.function.arguments)["place"])})
    assert ask(messages).content == BOTH_TOLD
    assert gateway.host.refusals == []


def test_json_mode(endpoint):
    answer = litellm.completion(
        messages=user("Turku in JSON."), response_format={"type": "json_object"}, **where("openai", endpoint.url, endpoint.key)
    )
    assert isinstance(json.loads(answer.choices[0].message.content), dict)


def test_a_response(endpoint):
    response = litellm.responses(
        model=f"openai/{MODEL}", input=HELLO, api_base=endpoint.url + "/v1", api_key=endpoint.key, store=False
    )
    assert response.status == "completed"
    assert [item for item in response.output if item.type == "message"]


@pytest.mark.gateway
def test_the_classes_of_errors(at):
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(messages=user(HELLO), **{**at, "api_key": "tg_wrong"})
    with pytest.raises(litellm.BadRequestError):
        litellm.completion(messages=user(HELLO), **{**at, "model": at["model"].split("/")[0] + "/gpt-7"})


@pytest.mark.gateway
def test_a_text_is_completed(endpoint):
    answer = litellm.text_completion(
        model=f"text-completion-openai/{MODEL}", prompt="Once upon a time", max_tokens=40,
        api_base=endpoint.url + "/v1", api_key=endpoint.key,
    )
    assert answer.choices[0].text
