"""AWS's own SDK as the oracle of Bedrock: its validator reads the bodies that the wire writes, its
event stream parser reads the stream that the wire's tests are made of, and its client talks to the
emulated host."""

import base64
import json
import os
import re
import subprocess
import threading
from pathlib import Path

import boto3
import botocore
import botocore.session
import pytest
from botocore.config import Config
from botocore.eventstream import EventStreamBuffer
from botocore.exceptions import ClientError, EventStreamError
from botocore.parsers import EventStreamJSONParser
from botocore.validate import ParamValidator
from conftest import Demo

GOLDENS = Path(__file__).parents[2] / "gateway/src/backend/wires/bedrock/goldens"
MODEL = botocore.session.get_session().get_service_model("bedrock-runtime")
CONVERSE = MODEL.operation_model("Converse")
STREAM = MODEL.operation_model("ConverseStream")


# --- the wire ---------------------------------------------------------------------------------------


def checked(value, shape, where="body"):
    """What botocore's validator leaves unsaid: no field beyond the model, unions with one member,
    words of an enumeration, patterns and lengths. Gives bytes where the model has them."""
    kind = shape.type_name
    if getattr(shape, "is_document_type", False):
        return value
    if kind == "structure":
        unknown = set(value) - set(shape.members)
        assert not unknown, f"{where}: the model does not know {unknown}"
        if shape.is_tagged_union:
            assert len(value) == 1, f"{where}: a union of {sorted(value)}"
        return {k: checked(v, shape.members[k], f"{where}.{k}") for k, v in value.items()}
    if kind == "list":
        assert len(value) >= shape.metadata.get("min", 0), where
        return [checked(v, shape.member, f"{where}[{i}]") for i, v in enumerate(value)]
    if kind == "blob":
        return base64.b64decode(value, validate=True)
    if kind == "string":
        if shape.enum:
            assert value in shape.enum, f"{where}: {value}"
        length = shape.metadata
        assert length.get("min", 0) <= len(value) <= length.get("max", len(value)), f"{where}: {value}"
        if pattern := length.get("pattern"):
            assert re.fullmatch(pattern, value), f"{where}: {value}"
    return value


@pytest.mark.parametrize("golden", sorted(GOLDENS.glob("*.json")), ids=lambda path: path.stem)
def test_every_golden_body_is_a_converse_request(golden):
    body = json.loads(golden.read_text())
    shape = CONVERSE.input_shape
    params = checked({"modelId": "deepseek.v4-pro", **body}, shape)
    report = ParamValidator().validate(params, shape)
    assert not report.has_errors(), report.generate_report()


def test_the_validator_would_notice():
    broken = {"modelId": "m", "messages": [{"role": "user", "content": [{"text": "a", "image": {}}]}]}
    with pytest.raises(AssertionError):
        checked(broken, CONVERSE.input_shape)
    assert ParamValidator().validate({"modelId": "m", "messages": [{}]}, CONVERSE.input_shape).has_errors()


def parsed(message):
    event = EventStreamJSONParser().parse(message.to_response_dict(), STREAM.output_shape.members["stream"])
    return {kind: payload for kind, payload in event.items() if kind != "ResponseMetadata"}


def test_the_golden_stream_is_an_event_stream():
    buffer = EventStreamBuffer()
    buffer.add_data((GOLDENS / "stream.bin").read_bytes())
    events = [parsed(message) for message in buffer]
    kinds = [next(iter(event)) for event in events]
    assert kinds[0] == "messageStart" and kinds[-2:] == ["messageStop", "metadata"]
    text = "".join(event["contentBlockDelta"]["delta"].get("text", "")
                   for event in events if "contentBlockDelta" in event)
    assert text == "Kaksi hä?"
    assert events[-1]["metadata"]["usage"]["cacheReadInputTokens"] == 3


# --- the emulated host ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Where the demonstration's emulated Bedrock listens."""
    binary = os.environ.get("TOLLGATE_BIN")
    assert binary, "TOLLGATE_BIN is not set: run the suites with tests/run"
    process = subprocess.Popen(
        [binary, "demo", "--json", "--listen", "127.0.0.1:0", "--requests", "1"],
        cwd=tmp_path_factory.mktemp("bedrock"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
        env={key: value for key, value in os.environ.items() if key != "DATABASE_URL"},
    )
    demo = Demo(process)
    threading.Thread(target=demo.read, args=(process.stdout,), daemon=True).start()
    try:
        yield demo.said(r'"bedrock": "(http://[^"]+)"')
    finally:
        process.terminate()
        process.wait(60)


def client(address, key="demo-bedrock-default"):
    """boto3's client. It shows no key without TLS, so the key is added to what it sends."""
    client = boto3.client(
        "bedrock-runtime", region_name="eu-north-1", endpoint_url=address,
        config=Config(signature_version=botocore.UNSIGNED, retries={"total_max_attempts": 1}, proxies={}),
    )
    client.meta.events.register(
        "before-call.bedrock-runtime",
        lambda params, **_: params["headers"].update(Authorization=f"Bearer {key}"),
    )
    return client


@pytest.fixture
def bedrock(address):
    return client(address)


ID = "deepseek.v4-pro"
TOOLS = {"tools": [{"toolSpec": {
    "name": "get_weather", "description": "The weather at a place now.",
    "inputSchema": {"json": {"type": "object", "properties": {"place": {"type": "string"}},
                             "required": ["place"]}},
}}]}


def user(text):
    return {"role": "user", "content": [{"text": text}]}


def texts(message):
    return "".join(block.get("text", "") for block in message["content"])


def test_a_plain_answer(bedrock):
    answer = bedrock.converse(modelId=ID, messages=[user("Say hello.")], system=[{"text": "Be brief."}],
                              inferenceConfig={"maxTokens": 50, "temperature": 0.5})
    assert texts(answer["output"]["message"])
    assert answer["stopReason"] in ("end_turn", "max_tokens")
    usage = answer["usage"]
    assert 0 < usage["outputTokens"] <= 50
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"] + usage["cacheReadInputTokens"]
    assert answer["ResponseMetadata"]["RequestId"]


def test_a_streamed_answer_is_the_plain_one(bedrock):
    question = dict(modelId=ID, messages=[user("Say hello.\nanswer in 60 words")])
    plain = bedrock.converse(**question)
    events = list(bedrock.converse_stream(**question)["stream"])
    deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    assert "".join(delta.get("text", "") for delta in deltas) == texts(plain["output"]["message"])
    thought = plain["output"]["message"]["content"][0]["reasoningContent"]["reasoningText"]["text"]
    assert "".join(d["reasoningContent"]["text"] for d in deltas if "reasoningContent" in d) == thought
    assert "messageStart" in events[0] and "messageStop" in events[-2]
    assert events[-1]["metadata"]["usage"]["outputTokens"] == 60


def test_tools_there_and_back(bedrock):
    messages = [user("What is the weather in Turku?")]
    first = bedrock.converse(modelId=ID, messages=messages, toolConfig=TOOLS)
    assert first["stopReason"] == "tool_use"
    message = first["output"]["message"]
    (call,) = [block["toolUse"] for block in message["content"] if "toolUse" in block]
    assert isinstance(call["input"], dict)

    events = list(bedrock.converse_stream(modelId=ID, messages=messages, toolConfig=TOOLS)["stream"])
    (start,) = [event["contentBlockStart"] for event in events if "contentBlockStart" in event]
    assert start["start"]["toolUse"]["name"] == "get_weather"
    arguments = "".join(event["contentBlockDelta"]["delta"].get("toolUse", {}).get("input", "")
                        for event in events if "contentBlockDelta" in event)
    assert json.loads(arguments) == call["input"]

    messages += [message, {"role": "user", "content": [{"toolResult": {
        "toolUseId": call["toolUseId"], "content": [{"json": {"sky": "clear"}}], "status": "success"}}]}]
    second = bedrock.converse(modelId=ID, messages=messages, toolConfig=TOOLS)
    assert "clear" in texts(second["output"]["message"])
    with pytest.raises(bedrock.exceptions.ValidationException, match="toolConfig"):
        bedrock.converse(modelId=ID, messages=messages)


def test_errors_have_their_names(bedrock):
    with pytest.raises(bedrock.exceptions.ValidationException, match="alternate"):
        bedrock.converse(modelId=ID, messages=[user("a"), user("b")])
    with pytest.raises(bedrock.exceptions.ValidationException, match="model identifier"):
        bedrock.converse(modelId="deepseek.v9:0", messages=[user("a")])
    for status, error in [(429, "ThrottlingException"), (503, "ServiceUnavailableException")]:
        with pytest.raises(ClientError) as caught:
            bedrock.converse(modelId=ID, messages=[user(f"a\nx-emulate: status-{status}")])
        assert caught.value.response["Error"]["Code"] == error
    stranger = client(bedrock.meta.endpoint_url, key="wrong")
    with pytest.raises(stranger.exceptions.AccessDeniedException):
        stranger.converse(modelId=ID, messages=[user("a")])


def test_a_failure_inside_a_stream_is_an_exception(bedrock):
    stream = bedrock.converse_stream(modelId=ID, messages=[user("a\nx-emulate: error-in-stream")])["stream"]
    with pytest.raises(EventStreamError, match="modelStreamErrorException"):
        list(stream)


def test_a_prompt_said_again_is_read_from_the_cache(bedrock):
    words = " ".join(f"w{number}" for number in range(1_300))
    asked = dict(modelId=ID, messages=[user(words)])
    first, second = (bedrock.converse(**asked)["usage"] for _ in range(2))
    assert second["cacheReadInputTokens"] > 0
    assert second["inputTokens"] + second["cacheReadInputTokens"] == first["inputTokens"]
