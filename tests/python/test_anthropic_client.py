"""The official Anthropic client, unmodified: only its base URL and its key are ours."""

import asyncio

import anthropic
import pydantic
import pytest

from conversations import ASK_BOTH, ASK_WEATHER, BOTH_TOLD, HELLO, LONG, MODEL, WEATHER, both_at_once, weather_of
from scripted import Turn

TOOL = {"name": "get_weather", "description": "The weather now.", "input_schema": WEATHER}


@pytest.fixture
def client(endpoint):
    with anthropic.Anthropic(base_url=endpoint.url, api_key=endpoint.key, max_retries=0) as client:
        yield client


def client_of(gateway):
    return anthropic.Anthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0)


def user(text):
    return [{"role": "user", "content": text}]


def ask(client, text=HELLO, **more):
    more = {"model": MODEL, "max_tokens": 1000, "messages": user(text), **more}
    return client.messages.create(**more)


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def thoughts(message):
    return [block for block in message.content if block.type == "thinking"]


def test_a_message(client):
    message = ask(client, system="Be brief.")
    assert message.type == "message" and message.role == "assistant" and message.model
    assert text_of(message)
    assert message.stop_reason == "end_turn"
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0


def test_the_system_in_blocks_and_turns_in_blocks(client):
    message = ask(
        client,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {"role": "user", "content": [{"type": "text", "text": HELLO, "cache_control": {"type": "ephemeral"}}]},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": "And again."},
        ],
        metadata={"user_id": "somebody"},
    )
    assert text_of(message)


@pytest.mark.gateway
def test_a_bearer_token_is_a_key_too(endpoint):
    with anthropic.Anthropic(base_url=endpoint.url, auth_token=endpoint.key, max_retries=0) as client:
        assert text_of(ask(client))


@pytest.mark.gateway
def test_an_answer_that_is_cut_says_so(client):
    message = ask(client, LONG, max_tokens=40)
    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens <= 40


@pytest.mark.gateway
def test_a_stop_sequence_is_named(client):
    whole = text_of(ask(client, thinking={"type": "disabled"}))
    word = whole.split()[3]
    message = ask(client, thinking={"type": "disabled"}, stop_sequences=[word])
    assert word not in text_of(message)
    # Hosts do not say which string stopped them, some not even that one did.
    assert message.stop_reason in ("stop_sequence", "end_turn")


def test_raw_events_in_their_order(client):
    events = list(ask(client, stream=True))
    kinds = [event.type for event in events if event.type != "ping"]
    assert kinds[0] == "message_start" and kinds[-2:] == ["message_delta", "message_stop"]
    open_block = None
    for event in events:
        match event.type:
            case "content_block_start":
                assert open_block is None, "one block at a time"
                open_block = event.index
            case "content_block_delta":
                assert event.index == open_block
            case "content_block_stop":
                assert event.index == open_block
                open_block = None
    assert open_block is None
    assert events[0].message.content == []
    assert [event for event in events if event.type == "message_delta"][-1].usage.output_tokens > 0


def test_the_clients_own_stream_helper(client):
    with client.messages.stream(model=MODEL, max_tokens=1000, messages=user(HELLO)) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text and text == text_of(final)
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > 0


@pytest.mark.gateway
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("thinking", ["disabled", "enabled", "adaptive", "max"])
def test_thinking_is_as_asked(client, thinking, stream):
    more = {
        "disabled": {"thinking": {"type": "disabled"}},
        "enabled": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        "adaptive": {"thinking": {"type": "adaptive"}},
        "max": {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
    }[thinking]
    more = {"model": MODEL, "max_tokens": 4000, "messages": user(HELLO), **more}
    if stream:
        with client.messages.stream(**more) as events:
            message = events.get_final_message()
    else:
        message = client.messages.create(**more)
    assert bool(thoughts(message)) == (thinking != "disabled")
    for block in thoughts(message):
        assert block.thinking and isinstance(block.signature, str)
    assert message.content[-1].type == "text"


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_there_and_back(client, stream):
    def asked(messages):
        more = dict(model=MODEL, max_tokens=1000, messages=messages, tools=[TOOL])
        if not stream:
            return client.messages.create(**more)
        with client.messages.stream(**more) as events:
            return events.get_final_message()

    messages = user(ASK_WEATHER)
    first = asked(messages)
    assert first.stop_reason == "tool_use"
    (call,) = [block for block in first.content if block.type == "tool_use"]
    assert call.name == "get_weather" and isinstance(call.input, dict) and call.input["place"]
    messages += [
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "4 degrees, rain"}]},
    ]
    second = asked(messages)
    assert text_of(second) and second.stop_reason == "end_turn"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("drops_thinking", [False, True])
def test_parallel_calls_and_their_results(scripted, stream, drops_thinking):
    gateway = scripted(both_at_once(Turn))
    with client_of(gateway) as client:

        def asked(messages):
            more = dict(model=MODEL, max_tokens=1000, messages=messages, tools=[TOOL], thinking={"type": "adaptive"})
            if not stream:
                return client.messages.create(**more)
            with client.messages.stream(**more) as events:
                return events.get_final_message()

        messages = user(ASK_BOTH)
        first = asked(messages)
        assert [block.thinking for block in thoughts(first)] == ["Two places, two calls."]
        calls = [block for block in first.content if block.type == "tool_use"]
        assert [call.input for call in calls] == [{"place": "Turku"}, {"place": "Oulu"}]
        kept = [block for block in first.content if not (drops_thinking and block.type == "thinking")]
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": weather_of(call.input["place"])} for call in calls]
        messages += [{"role": "assistant", "content": kept}, {"role": "user", "content": list(reversed(results))}]
        assert text_of(asked(messages)) == BOTH_TOLD
    assert gateway.host.refusals == []


def test_the_clients_own_tool_runner_goes_the_loop(scripted):
    gateway = scripted(both_at_once(Turn))

    @anthropic.beta_tool
    def get_weather(place: str) -> str:
        """The weather now.

        Args:
            place: A town.
        """
        return weather_of(place)

    with client_of(gateway) as client:
        runner = client.beta.messages.tool_runner(model=MODEL, max_tokens=1000, tools=[get_weather], messages=user(ASK_BOTH))
        *_, last = list(runner)
    assert text_of(last) == BOTH_TOLD
    assert gateway.host.refusals == []


@pytest.mark.gateway
@pytest.mark.parametrize("choice", ["any", "tool", "none"])
def test_a_tool_choice_is_kept_or_refused_never_forgotten(client, choice):
    asked = {"type": choice, **({"name": "get_weather"} if choice == "tool" else {})}
    try:
        message = ask(client, HELLO, tools=[TOOL], tool_choice=asked, thinking={"type": "disabled"})
    except anthropic.APIStatusError as refused:
        assert refused.status_code in (400, 403, 503), refused
        return
    assert (message.stop_reason == "tool_use") == (choice != "none")


class City(pydantic.BaseModel):
    name: str
    inhabitants: int


def test_a_schema_is_parsed_into_its_class(client):
    message = client.messages.parse(model=MODEL, max_tokens=1000, messages=user("Turku in JSON."), output_format=City)
    assert isinstance(message.parsed_output, City)


@pytest.mark.gateway
def test_tokens_are_counted_before_they_are_paid(client):
    short = client.messages.count_tokens(model=MODEL, messages=user(HELLO)).input_tokens
    long = client.messages.count_tokens(model=MODEL, messages=user(HELLO * 100), system="Be brief.", tools=[TOOL]).input_tokens
    assert 0 < short < long


@pytest.mark.gateway
def test_a_stream_that_is_left_leaves_the_client_usable(client):
    with client.messages.stream(model=MODEL, max_tokens=4000, messages=user(LONG)) as stream:
        for _, _event in zip(range(5), stream):
            pass
    assert text_of(ask(client))


@pytest.mark.gateway
def test_the_classes_of_errors(endpoint, client):
    with anthropic.Anthropic(base_url=endpoint.url, api_key="tg_wrong", max_retries=0) as stranger:
        with pytest.raises(anthropic.AuthenticationError) as caught:
            ask(stranger)
        assert caught.value.body["error"]["type"] == "authentication_error"
    with pytest.raises(anthropic.BadRequestError) as caught:
        ask(client, model="gpt-7")
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["type"] == "invalid_request_error"
    assert "gpt-7" in caught.value.body["error"]["message"]
    with pytest.raises(anthropic.PermissionDeniedError) as caught:
        ask(client, extra_headers={"x-tollgate-tags": "nonexistent-standard"})
    assert caught.value.body["error"]["type"] == "permission_error"
    with pytest.raises(anthropic.BadRequestError):
        ask(client, messages=[{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_nobody", "content": "x"}]}])


def test_no_money_and_too_large_have_their_own_types(scripted):
    gateway = scripted(lambda body: Turn("hello"), settings="[limits]\nbody_bytes = 20000\n")
    key = gateway.run("key", "create", "--team", "poor", "--budget", "0.000001/month", "--json")["key"]
    with anthropic.Anthropic(base_url=gateway.url, api_key=key, max_retries=3) as client:
        with pytest.raises(anthropic.APIStatusError) as caught:
            ask(client)
        assert caught.value.status_code == 402
        assert caught.value.body["error"]["type"] == "billing_error"
    with client_of(gateway) as client:
        with pytest.raises(anthropic.APIStatusError) as caught:
            ask(client, "x" * 30_000)
        assert caught.value.status_code == 413
        assert caught.value.body["error"]["type"] == "request_too_large"
    assert gateway.host.requests == []


@pytest.mark.gateway
def test_the_request_id_is_found_by_the_client(client):
    message = ask(client)
    assert message._request_id


@pytest.mark.gateway
def test_the_models(client):
    assert MODEL in {model.id for model in client.models.list()}


def test_many_at_once(endpoint):
    async def all_of_them():
        async with anthropic.AsyncAnthropic(base_url=endpoint.url, api_key=endpoint.key, max_retries=0) as client:
            async def one(number):
                async with client.messages.stream(model=MODEL, max_tokens=1000, messages=user(f"Count to {number}.")) as stream:
                    return (await stream.get_final_message()).stop_reason
            return await asyncio.gather(*(one(number) for number in range(30)))

    assert set(asyncio.run(all_of_them())) == {"end_turn"}
