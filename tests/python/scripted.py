"""A scripted host: chat completions as DeepSeek documents them, answering by a script instead of a
model.

It is strict where DeepSeek is: an assistant message with tool calls must come back with the very
reasoning that it was given, or the answer is 400. Streams are cut at awkward places: tool arguments
in fragments of a few bytes, also inside an escape. What it sees is kept for the test to look at.
"""

import itertools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-scripted-host"
MUST_COME_BACK = "The `reasoning_content` in the thinking mode must be passed back to the API."


class Turn:
    """What the host says: some reasoning, then a text or calls (name, arguments)."""

    def __init__(self, text="", calls=(), reasoning=""):
        self.text, self.calls, self.reasoning = text, list(calls), reasoning


class ScriptedHost:
    """`script(body)` gives the turn for a request."""

    def __init__(self, script):
        self.script = script
        self.requests = []
        self.refusals = []
        self.failures = []
        self.reasoning = {}
        self.numbers = itertools.count(1)
        self.lock = threading.Lock()
        host = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                try:
                    host.enter(self, body)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True
                except Exception as error:  # A script that fails must not look like a broken host.
                    host.failures.append(repr(error))
                    host.refuse(self, 500, f"the script failed: {error!r}")

            def do_GET(self):
                host.refuse(self, 404, f"nobody is at {self.path}")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    # --- answering

    def enter(self, door, body):
        if not door.path.endswith("/chat/completions"):
            return self.refuse(door, 404, f"nobody is at {door.path}")
        if door.headers.get("authorization") != f"Bearer {KEY}":
            return self.refuse(door, 401, "Authentication Fails")
        body = json.loads(body)
        with self.lock:
            self.requests.append(body)
            wrong = self.missing_reasoning(body)
        if wrong:
            self.refusals.append(wrong)
            return self.refuse(door, 400, wrong)
        turn = self.script(body)
        calls = [
            {"id": f"call_{next(self.numbers)}_scripted", "name": name, "arguments": json.dumps(arguments)}
            for name, arguments in turn.calls
        ]
        with self.lock:
            for call in calls:
                self.reasoning[call["id"]] = turn.reasoning
        (self.stream if body.get("stream") else self.whole)(door, body, turn, calls)

    def missing_reasoning(self, body):
        """DeepSeek's rule, with thinking on: reasoning that led to calls comes back, unchanged."""
        if (body.get("thinking") or {}).get("type") == "disabled" or not body.get("tools"):
            return None
        for message in body["messages"]:
            for call in message.get("tool_calls") or []:
                given = self.reasoning.get(call["id"])
                if given is None:
                    return f"tool call {call['id']} was never made here"
                if (message.get("reasoning_content") or "") != given:
                    return MUST_COME_BACK
        return None

    def refuse(self, door, status, message):
        self.send(door, status, {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": "invalid_request_error"}})

    def send(self, door, status, content):
        content = json.dumps(content).encode()
        door.send_response(status)
        door.send_header("content-type", "application/json")
        door.send_header("content-length", str(len(content)))
        door.end_headers()
        door.wfile.write(content)

    def head(self, body, kind):
        return {"id": f"scripted-{next(self.numbers)}", "object": kind, "created": int(time.time()), "model": body["model"]}

    @staticmethod
    def usage(body, turn):
        asked = len(json.dumps(body["messages"])) // 4 + 1
        said = (len(turn.text) + len(turn.reasoning)) // 4 + 8 * len(turn.calls) + 1
        return {
            "prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said,
            "prompt_tokens_details": {"cached_tokens": 0}, "prompt_cache_hit_tokens": 0, "prompt_cache_miss_tokens": asked,
            "completion_tokens_details": {"reasoning_tokens": len(turn.reasoning) // 4},
        }

    @staticmethod
    def finish(turn):
        return "tool_calls" if turn.calls else "stop"

    def whole(self, door, body, turn, calls):
        message = {"role": "assistant", "content": turn.text}
        if turn.reasoning:
            message["reasoning_content"] = turn.reasoning
        if calls:
            message["tool_calls"] = [
                {"index": index, "id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
                for index, call in enumerate(calls)
            ]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish(turn)}
        self.send(door, 200, {**self.head(body, "chat.completion"), "choices": [choice], "usage": self.usage(body, turn)})

    def stream(self, door, body, turn, calls):
        door.send_response(200)
        door.send_header("content-type", "text/event-stream")
        door.send_header("transfer-encoding", "chunked")
        door.end_headers()
        head = self.head(body, "chat.completion.chunk")
        wants_usage = (body.get("stream_options") or {}).get("include_usage")

        def write(data):
            data = data.encode()
            door.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            door.wfile.flush()

        def chunk(delta, finish=None, usage=None):
            frame = {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}
            if wants_usage:
                frame["usage"] = usage
            write(f"data: {json.dumps(frame)}\n\n")

        opening = {"role": "assistant", "content": None, "reasoning_content": ""} if turn.reasoning else {"role": "assistant", "content": ""}
        chunk(opening)
        for piece in pieces(turn.reasoning, 11):
            chunk({"content": None, "reasoning_content": piece})
        write(": keep-alive\n\n")
        for piece in pieces(turn.text, 7):
            chunk({"content": piece})
        for index, call in enumerate(calls):
            chunk({"tool_calls": [{"index": index, "id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": ""}}]})
        # Of several calls the fragments come in turns.
        fragments = [[(index, piece) for piece in pieces(call["arguments"], 3)] for index, call in enumerate(calls)]
        for row in itertools.zip_longest(*fragments):
            for index, piece in filter(None, row):
                chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        chunk({"content": ""}, self.finish(turn), self.usage(body, turn))
        write("data: [DONE]\n\n")
        door.wfile.write(b"0\r\n\r\n")


def pieces(text, size):
    return [text[at:at + size] for at in range(0, len(text), size)]
