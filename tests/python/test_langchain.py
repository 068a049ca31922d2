"""LangChain's chat models, unmodified, on chat completions, Responses and Messages."""

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from conversations import ASK_BOTH, ASK_WEATHER, BOTH_TOLD, HELLO, MODEL, both_at_once, weather_of
from scripted import Turn

DIALECTS = ["chat", "responses", "messages"]


class City(BaseModel):
    """A town."""

    name: str
    inhabitants: int


@tool
def get_weather(place: str) -> str:
    """The weather at a place now."""
    return weather_of(place)


def model_of(dialect, url, key, **more):
    match dialect:
        case "messages":
            return ChatAnthropic(model=MODEL, base_url=url, api_key=key, max_retries=0, max_tokens=1000, **more)
        case _:
            return ChatOpenAI(
                model=MODEL, base_url=url + "/v1", api_key=key, max_retries=0,
                use_responses_api=dialect == "responses", stream_usage=True, **more,
            )


@pytest.fixture(params=DIALECTS)
def model(request, endpoint):
    return model_of(request.param, endpoint.url, endpoint.key)


def test_a_plain_answer(model):
    answer = model.invoke([SystemMessage("Be brief."), HumanMessage(HELLO)])
    assert isinstance(answer, AIMessage) and answer.text
    assert answer.usage_metadata["input_tokens"] > 0 and answer.usage_metadata["output_tokens"] > 0


def test_a_stream_adds_up(model):
    whole = None
    count = 0
    for chunk in model.stream(HELLO):
        whole = chunk if whole is None else whole + chunk
        count += 1
    assert count > 1 and whole.text
    assert whole.usage_metadata["output_tokens"] > 0


def test_bound_tools_there_and_back(model):
    bound = model.bind_tools([get_weather])
    messages = [HumanMessage(ASK_WEATHER)]
    first = bound.invoke(messages)
    (call,) = first.tool_calls
    assert call["name"] == "get_weather" and call["args"]["place"]
    second = bound.invoke([*messages, first, ToolMessage(weather_of("Turku"), tool_call_id=call["id"])])
    assert second.text and not second.tool_calls


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
def test_parallel_calls_and_their_results(scripted, dialect, stream):
    gateway = scripted(both_at_once(Turn))
    bound = model_of(dialect, gateway.url, gateway.key).bind_tools([get_weather])

    def ask(messages):
        if not stream:
            return bound.invoke(messages)
        whole = None
        for chunk in bound.stream(messages):
            whole = chunk if whole is None else whole + chunk
        return whole

    messages = [HumanMessage(ASK_BOTH)]
    first = ask(messages)
    assert [call["args"] for call in first.tool_calls] == [{"place": "Turku"}, {"place": "Oulu"}]
    messages += [first, *(get_weather.invoke(call) for call in first.tool_calls)]
    assert ask(messages).text == BOTH_TOLD
    assert gateway.host.refusals == []


def structured(model):
    """Schema where the dialect has one; ChatAnthropic's own way is a forced tool."""
    if isinstance(model, ChatAnthropic):
        return model.with_structured_output(City, method="json_schema")
    return model.with_structured_output(City, method="json_schema", strict=True)


def test_structured_output_is_the_class(model):
    assert isinstance(structured(model).invoke("Turku in JSON."), City)


@pytest.mark.gateway
def test_structured_output_by_a_forced_tool(endpoint):
    model = model_of("chat", endpoint.url, endpoint.key, reasoning_effort="none")
    assert isinstance(model.with_structured_output(City, method="function_calling").invoke("Turku."), City)


@pytest.mark.gateway
def test_json_mode(endpoint):
    model = model_of("chat", endpoint.url, endpoint.key)
    answer = model.bind(response_format={"type": "json_object"}).invoke("Turku in JSON.")
    assert answer.text.lstrip().startswith("{")
