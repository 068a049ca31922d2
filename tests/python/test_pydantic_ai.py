"""pydantic-ai's agents, unmodified, on chat completions, Responses and Messages."""

import pydantic_ai
import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, ModelSettings, NativeOutput, PromptedOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from conversations import ASK_BOTH, ASK_WEATHER, BOTH_TOLD, HELLO, MODEL, both_at_once, weather_of
from scripted import Turn

DIALECTS = ["chat", "responses", "messages"]


class City(BaseModel):
    name: str
    inhabitants: int


def model_of(dialect, url, key):
    match dialect:
        case "chat":
            return OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=url + "/v1", api_key=key))
        case "responses":
            return OpenAIResponsesModel(MODEL, provider=OpenAIProvider(base_url=url + "/v1", api_key=key))
        case "messages":
            return AnthropicModel(MODEL, provider=AnthropicProvider(base_url=url, api_key=key))


@pytest.fixture(params=DIALECTS)
def model(request, endpoint):
    return model_of(request.param, endpoint.url, endpoint.key)


def test_a_plain_answer(model):
    result = Agent(model, instructions="Be brief.").run_sync(HELLO)
    assert result.output
    assert result.usage.input_tokens > 0 and result.usage.output_tokens > 0


def test_turns_follow_each_other(model):
    agent = Agent(model)
    first = agent.run_sync("My name is Aino.")
    assert agent.run_sync("What is my name?", message_history=first.all_messages()).output


def test_a_stream(model):
    result = Agent(model).run_stream_sync(HELLO)
    pieces = list(result.stream_text(delta=True, debounce_by=None))
    assert len(pieces) > 1 and "".join(pieces)
    assert result.usage.output_tokens > 0


def test_a_loop_of_tools(model):
    agent, asked = Agent(model), []

    @agent.tool_plain
    def get_weather(place: str) -> str:
        """The weather at a place now."""
        asked.append(place)
        return "4 degrees, rain"

    result = agent.run_sync(ASK_WEATHER)
    assert len(asked) == 1 and result.output
    assert result.usage.requests == 2


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
def test_parallel_calls_and_their_results(scripted, dialect, stream):
    gateway = scripted(both_at_once(Turn))
    agent, asked = Agent(model_of(dialect, gateway.url, gateway.key)), []

    @agent.tool_plain
    def get_weather(place: str) -> str:
        """The weather at a place now."""
        asked.append(place)
        return weather_of(place)

    if stream:
        output = "".join(agent.run_stream_sync(ASK_BOTH).stream_text(delta=True, debounce_by=None))
    else:
        output = agent.run_sync(ASK_BOTH).output
    assert output == BOTH_TOLD
    assert sorted(asked) == ["Oulu", "Turku"]
    assert gateway.host.refusals == []


@pytest.mark.parametrize("dialect", ["chat", "responses"])
def test_output_in_the_dialects_own_schema(endpoint, dialect):
    model = model_of(dialect, endpoint.url, endpoint.key)
    assert isinstance(Agent(model, output_type=NativeOutput(City)).run_sync("Turku in JSON.").output, City)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_output_begged_for_in_words(scripted, dialect):
    gateway = scripted(lambda body: Turn('{"name": "Turku", "inhabitants": 208000}', reasoning="A town."))
    model = model_of(dialect, gateway.url, gateway.key)
    result = Agent(model, output_type=PromptedOutput(City)).run_sync("Turku.")
    assert result.output == City(name="Turku", inhabitants=208000)


@pytest.mark.gateway
def test_output_by_a_tool_without_thinking(model):
    """pydantic-ai's default: an output tool, and a call that must come."""
    settings = ModelSettings(thinking=False)
    result = Agent(model, output_type=City, model_settings=settings).run_sync("Turku.")
    assert isinstance(result.output, City)


@pytest.mark.gateway
def test_a_wrong_key_is_told(model, endpoint):
    kinds = {OpenAIChatModel: "chat", OpenAIResponsesModel: "responses", AnthropicModel: "messages"}
    stranger = model_of(kinds[type(model)], endpoint.url, "tg_wrong")
    with pytest.raises(pydantic_ai.exceptions.ModelHTTPError) as caught:
        Agent(stranger).run_sync(HELLO)
    assert caught.value.status_code == 401
