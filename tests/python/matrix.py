"""The matrix: surface x host x capability, each cell tried with the official client of the surface
against the demonstration, with no other host than that one allowed.

A cell is `ok`, or refused with the gateway's reason, or `-` where the dialect has no words for it.
Anything else is wrong, above all an answer that is not what was asked. `python matrix.py --write`
puts the table between the marks in README.md; the test says whether it is still true.
"""

import argparse
import json
import pathlib
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import anthropic
import openai

from conversations import ASK_BOTH, ASK_WEATHER, CITY, HELLO, LONG, WEATHER, weather_of

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
BEGIN, END = "<!-- matrix -->", "<!-- /matrix -->"

# Host -> a name by which a request is for it alone.
HOSTS = {
    # Novita's own ids have the form `deepseek/deepseek-v4-pro`.
    "deepseek": "deepseek/deepseek-flash",
    "fireworks": "fireworks/deepseek-v4-pro",
    "together": "together/deepseek-v4-pro",
    "siliconflow": "siliconflow/deepseek-v4-pro",
    "azure": "azure/deepseek-v4-pro",
    "vertex": "vertex/deepseek-v4.1-flash",
    "bedrock": "bedrock/deepseek-v4-pro",
}
CELLS = ["plain", "stream", "tools", "parallel", "JSON", "schema", "off", "high", "max", "usage", "error", "cancel"]
# What a refusal may be: by status. 5xx other than 503 is no refusal but a failure.
REFUSALS = {400, 403, 503}
PATIENCE_S = 60


class Absent(Exception):
    """The dialect has no words for it."""


class Wrong(Exception):
    """An answer that is not what was asked."""


def right(true, what):
    if not true:
        raise Wrong(what)


# --- surfaces: each says the same things in its own words


class Answer:
    """What a client was told: text, thinking, calls as (id, name, arguments), usage as (in, out)."""

    def __init__(self, text, thinking, calls, usage, ended, raw):
        self.text, self.thinking, self.calls, self.usage, self.ended, self.raw = text, thinking, calls, usage, ended, raw


class Chat:
    title = "chat completions"

    def __init__(self, url, key):
        self.client = openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0, timeout=PATIENCE_S)

    @staticmethod
    def user(text):
        return [{"role": "user", "content": text}]

    tools = [{"type": "function", "function": {"name": "get_weather", "description": "The weather now.", "parameters": WEATHER}}]
    json_mode = {"response_format": {"type": "json_object"}}
    schema = {"response_format": {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY, "strict": True}}}

    @staticmethod
    def effort(effort):
        return {"reasoning_effort": {"off": "none"}.get(effort, effort)}

    def ask(self, model, messages, stream=False, **more):
        if not stream:
            raw = self.client.chat.completions.with_raw_response.create(model=model, messages=messages, **more)
            self.backend = raw.headers["x-tollgate-backend"]
            return self.answer(raw.parse())
        with self.client.chat.completions.stream(model=model, messages=messages, stream_options={"include_usage": True}, **more) as events:
            return self.answer(events.get_final_completion())

    @staticmethod
    def answer(whole):
        choice = whole.choices[0]
        calls = [(call.id, call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls or []]
        usage = (whole.usage.prompt_tokens, whole.usage.completion_tokens)
        thinking = getattr(choice.message, "reasoning_content", None) or ""
        ended = {"stop": "done", "tool_calls": "tools"}.get(choice.finish_reason, choice.finish_reason)
        return Answer(choice.message.content or "", thinking, calls, usage, ended, choice.message)

    def begin(self, model, text):
        return self.client.chat.completions.create(model=model, messages=self.user(text), stream=True)

    @staticmethod
    def after(messages, answer, results):
        """As most clients go on: without the thinking."""
        calls = [{"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(given)}} for id, name, given in answer.calls]
        return [*messages, {"role": "assistant", "content": answer.raw.content, "tool_calls": calls}] + [
            {"role": "tool", "tool_call_id": id, "content": result} for (id, _, _), result in zip(answer.calls, results)
        ]


class Completions(Chat):
    title = "completions"
    tools = json_mode = schema = None

    @staticmethod
    def effort(effort):
        raise Absent

    def ask(self, model, messages, stream=False, **more):
        asked = dict(model=model, prompt=messages[0]["content"], max_tokens=200, **more)
        if not stream:
            raw = self.client.completions.with_raw_response.create(**asked)
            self.backend = raw.headers["x-tollgate-backend"]
            whole = raw.parse()
            usage = (whole.usage.prompt_tokens, whole.usage.completion_tokens)
            return Answer(whole.choices[0].text, "", [], usage, {"stop": "done"}.get(whole.choices[0].finish_reason), None)
        chunks = list(self.client.completions.create(stream=True, stream_options={"include_usage": True}, **asked))
        choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
        usage = [(chunk.usage.prompt_tokens, chunk.usage.completion_tokens) for chunk in chunks if chunk.usage]
        return Answer("".join(choice.text for choice in choices), "", [], usage[-1], {"stop": "done"}.get(choices[-1].finish_reason), None)

    def begin(self, model, text):
        return self.client.completions.create(model=model, prompt=text, max_tokens=4000, stream=True)


class Responses(Chat):
    title = "Responses"
    tools = [{"type": "function", "name": "get_weather", "description": "The weather now.", "parameters": WEATHER, "strict": False}]
    json_mode = {"text": {"format": {"type": "json_object"}}}
    schema = {"text": {"format": {"type": "json_schema", "name": "city", "schema": CITY, "strict": True}}}

    @staticmethod
    def effort(effort):
        return {"reasoning": {"effort": {"off": "none"}.get(effort, effort)}}

    def ask(self, model, messages, stream=False, **more):
        asked = dict(model=model, input=messages, store=False, include=["reasoning.encrypted_content"], **more)
        if not stream:
            raw = self.client.responses.with_raw_response.create(**asked)
            self.backend = raw.headers["x-tollgate-backend"]
            return self.answer(raw.parse())
        whole = None
        for event in self.client.responses.create(stream=True, **asked):
            if event.type in ("response.completed", "response.incomplete", "response.failed"):
                whole = event.response
            elif event.type == "error":
                raise Broken(event.message)
        right(whole is not None, "the stream ends without its end")
        if whole.status == "failed":
            raise Broken(whole.error.message)
        return self.answer(whole)

    @staticmethod
    def answer(whole):
        thinking = "".join(
            part.text for item in whole.output if item.type == "reasoning" for part in [*item.summary, *(item.content or [])]
        )
        calls = [(item.call_id, item.name, json.loads(item.arguments)) for item in whole.output if item.type == "function_call"]
        usage = (whole.usage.input_tokens, whole.usage.output_tokens)
        ended = "tools" if calls and whole.status == "completed" else {"completed": "done"}.get(whole.status, whole.status)
        return Answer(whole.output_text, thinking, calls, usage, ended, whole)

    def begin(self, model, text):
        return self.client.responses.create(model=model, input=text, stream=True, store=False)

    @staticmethod
    def after(messages, answer, results):
        return [*messages, *(item.model_dump(exclude_none=True) for item in answer.raw.output)] + [
            {"type": "function_call_output", "call_id": id, "output": result} for (id, _, _), result in zip(answer.calls, results)
        ]


class Messages(Chat):
    title = "Messages"
    tools = [{"name": "get_weather", "description": "The weather now.", "input_schema": WEATHER}]
    json_mode = None
    schema = {"output_config": {"format": {"type": "json_schema", "schema": CITY}}}

    def __init__(self, url, key):
        self.client = anthropic.Anthropic(base_url=url, api_key=key, max_retries=0, timeout=PATIENCE_S)

    @staticmethod
    def effort(effort):
        return {
            "off": {"thinking": {"type": "disabled"}},
            "high": {"thinking": {"type": "adaptive"}},
            "max": {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
        }[effort]

    def ask(self, model, messages, stream=False, **more):
        asked = dict(model=model, max_tokens=4000, messages=messages, **more)
        if not stream:
            raw = self.client.messages.with_raw_response.create(**asked)
            self.backend = raw.headers["x-tollgate-backend"]
            return self.answer(raw.parse())
        with self.client.messages.stream(**asked) as events:
            return self.answer(events.get_final_message())

    @staticmethod
    def answer(whole):
        of = lambda kind: [block for block in whole.content if block.type == kind]
        calls = [(block.id, block.name, block.input) for block in of("tool_use")]
        usage = whole.usage
        given = usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
        ended = {"end_turn": "done", "tool_use": "tools"}.get(whole.stop_reason, whole.stop_reason)
        text = "".join(block.text for block in of("text"))
        return Answer(text, "".join(block.thinking for block in of("thinking")), calls, (given, usage.output_tokens), ended, whole)

    def begin(self, model, text):
        return self.client.messages.create(model=model, max_tokens=8000, messages=self.user(text), stream=True)

    @staticmethod
    def after(messages, answer, results):
        blocks = [{"type": "tool_result", "tool_use_id": id, "content": result} for (id, _, _), result in zip(answer.calls, results)]
        return [*messages, {"role": "assistant", "content": answer.raw.content}, {"role": "user", "content": blocks}]


SURFACES = [Chat, Responses, Messages, Completions]


class Broken(Exception):
    """An answer that ended in an error of its dialect."""


# --- cells


def plain(at, model):
    answer = at.ask(model, at.user(HELLO))
    right(answer.text and not answer.calls, "no text")
    right(answer.ended == "done", f"ended as {answer.ended}")
    host = model.split("/")[0]
    right(at.backend.split("/")[0] == host, f"served by {at.backend}")


def stream(at, model):
    whole, streamed = at.ask(model, at.user(HELLO)), at.ask(model, at.user(HELLO), stream=True)
    right(streamed.text == whole.text, "a stream says something else")
    right(streamed.ended == "done", f"ended as {streamed.ended}")


def loop(at, model, text, places, streams=(False, True)):
    if at.tools is None:
        raise Absent
    for stream in streams:
        messages = at.user(text)
        first = at.ask(model, messages, stream, tools=at.tools)
        right(first.ended == "tools", f"ended as {first.ended}")
        right([name for _, name, _ in first.calls] == ["get_weather"] * places, f"called {first.calls}")
        right(all(isinstance(given["place"], str) for _, _, given in first.calls), "arguments are no object")
        right(len({id for id, _, _ in first.calls}) == places, "two calls share an id")
        results = [weather_of(given["place"]) if places > 1 else "4 degrees, rain" for _, _, given in first.calls]
        second = at.ask(model, at.after(messages, first, results), stream, tools=at.tools)
        right(all(result in second.text for result in results), f"a result did not reach the model: {second.text}")
        right(second.ended == "done", f"ended as {second.ended}")


def tools(at, model):
    loop(at, model, ASK_WEATHER, 1)


def parallel(at, model):
    loop(at, model, ASK_BOTH, 2)


def json_object(at, model):
    if at.json_mode is None:
        raise Absent
    for stream in (False, True):
        right(isinstance(json.loads(at.ask(model, at.user("Turku in JSON."), stream, **at.json_mode).text), dict), "no JSON object")


def schema(at, model):
    if at.schema is None:
        raise Absent
    for stream in (False, True):
        value = json.loads(at.ask(model, at.user("Turku in JSON."), stream, **at.schema).text)
        right(isinstance(value.get("name"), str) and isinstance(value.get("inhabitants"), int), f"not in the schema: {value}")


def thinking(effort):
    def cell(at, model):
        for stream in (False, True):
            answer = at.ask(model, at.user(HELLO), stream, **at.effort(effort))
            right(answer.text, "no text")
            right(bool(answer.thinking) == (effort != "off"), "thinks" if effort == "off" else "no thinking is told")

    return cell


def usage(at, model):
    whole, streamed = at.ask(model, at.user(HELLO)), at.ask(model, at.user(HELLO), stream=True)
    right(whole.usage[0] > 0 and whole.usage[1] > 0, f"usage {whole.usage}")
    right(whole.usage == streamed.usage, f"usage {whole.usage}, in a stream {streamed.usage}")
    longer = at.ask(model, at.user(HELLO * 50))
    right(longer.usage[0] > whole.usage[0], "a longer prompt counts no more")


# The demonstration quotes a prompt's first words only: these make prompts that differ behind them equal.
FIRST = "one two three four five six seven eight nine ten eleven twelve thirteen\n"


def error(at, model):
    """A host that refuses is told in the dialect; a host that dies in mid-answer makes no whole answer."""
    try:
        at.ask(model, at.user(FIRST + "x-emulate: status-400"))
        raise Wrong("a refusal of the host became an answer")
    except (openai.BadRequestError, anthropic.BadRequestError) as refused:
        right(message_of(refused), "an error without words")
    whole = at.ask(model, at.user(FIRST + "and so on"), stream=True)
    try:
        cut = at.ask(model, at.user(FIRST + "x-emulate: cut-stream"), stream=True)
    except (openai.APIError, anthropic.APIError, Broken):
        return
    right(cut.text == whole.text and cut.ended == "done", "an answer that was cut looks whole")


def cancel(at, model):
    events = at.begin(model, LONG)
    for _, _event in zip(range(4), events):
        pass
    begun = time.monotonic()
    events.close()
    right(at.ask(model, at.user(HELLO)).text, "no text afterwards")
    right(time.monotonic() - begun < 30, "the next answer waits for the one that was left")


RUN = dict(zip(CELLS, [
    plain, stream, tools, parallel, json_object, schema, thinking("off"), thinking("high"), thinking("max"), usage, error, cancel,
]))


# --- the run


def message_of(refused):
    body = refused.body if isinstance(refused.body, dict) else {}
    error = body.get("error") if isinstance(body.get("error"), dict) else body
    lacks = error.get("backends") or body.get("backends") or []
    reasons = sorted({one.get("reason") or one.get("lacks") or "" for one in lacks if isinstance(one, dict)} - {""})
    return "; ".join(reasons) or error.get("message") or str(refused)


def steady(reason):
    """A reason without what differs from run to run: ids, regions, times."""
    reason = re.sub(r"\b(req|chatcmpl|resp|msg)_[A-Za-z0-9-]+", "...", reason)
    return re.sub(r"\s+", " ", reason).replace("|", "/").strip()


def try_cell(at, model, cell):
    """("ok" | "-" | "refused" | "wrong", why)"""
    try:
        RUN[cell](at, model)
        return "ok", ""
    except Absent:
        return "-", ""
    except (openai.APIStatusError, anthropic.APIStatusError) as refused:
        why = steady(message_of(refused))
        if refused.status_code in REFUSALS and why:
            return "refused", why
        return "wrong", f"{refused.status_code}: {why}"
    except Wrong as wrong:
        return "wrong", str(wrong)
    except Exception as failure:
        return "wrong", f"{type(failure).__name__}: {failure}"


def run(demo, parallel_at):
    """All cells. `demo`: the demonstration, `parallel_at`: a gateway whose hosts call two tools at
    once, which those of the demonstration never do; each with `.url` and `.key`."""
    found = {}

    def row(surface, host):
        model = HOSTS[host]
        # Faults last, so that no cell meets a host that is rested for another's.
        for cell in sorted(CELLS, key="error".__eq__):
            where = parallel_at if cell == "parallel" else demo
            found[surface.title, host, cell] = try_cell(surface(where.url, where.key), model, cell)

    def host_rows(host):
        for surface in SURFACES:
            row(surface, host)

    with ThreadPoolExecutor(len(HOSTS)) as pool:
        list(pool.map(host_rows, HOSTS))
    return found


def wrong(found):
    return {" / ".join(where): why for where, (what, why) in found.items() if what == "wrong"}


def table(found):
    """Markdown, with the reasons as notes below."""
    notes = []
    lines = ["| surface | host | " + " | ".join(CELLS) + " |", "| --- " * (len(CELLS) + 2) + "|"]
    for surface in SURFACES:
        for host in HOSTS:
            row = []
            for cell in CELLS:
                what, why = found[surface.title, host, cell]
                if what == "refused":
                    if why not in notes:
                        notes.append(why)
                    what = f"refused [{notes.index(why) + 1}]"
                row.append("**wrong**" if what == "wrong" else what)
            lines.append(f"| {surface.title} | {host} | " + " | ".join(row) + " |")
    return "\n".join([*lines, "", *(f"{number}. {why}" for number, why in enumerate(notes, 1))]).strip()


def in_readme(text):
    _, _, rest = text.partition(BEGIN)
    inside, end, _ = rest.partition(END)
    return inside.strip() if end else None


def write(found):
    text = README.read_text()
    assert in_readme(text) is not None, f"README.md has no {BEGIN} ... {END}"
    head, _, rest = text.partition(BEGIN)
    README.write_text(f"{head}{BEGIN}\n{table(found)}\n{END}{rest.partition(END)[2]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    asked = parser.parse_args()
    import tempfile

    from test_matrix import gateways

    with tempfile.TemporaryDirectory() as folder, gateways(pathlib.Path(folder)) as both:
        found = run(*both)
    print(table(found))
    for where, why in wrong(found).items():
        print(f"wrong: {where}: {why}", file=sys.stderr)
    if asked.write and not wrong(found):
        write(found)
    return 1 if wrong(found) else 0


if __name__ == "__main__":
    sys.exit(main())
