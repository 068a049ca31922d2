"""Coding agents that others wrote, headless, through a loop of tools, in front of a host that knows
only chat completions and is as strict as DeepSeek about its reasoning: Claude Code speaks Messages,
Codex speaks Responses, opencode speaks chat completions. Only their base URL and key are ours.

The script: two files are read in one turn, then a third is written from what was read, then a last
word. What is written proves that both results came back to the host, each under its own call.
"""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "python"))

import scripted
from gateways import Gateway

TOOLS = pathlib.Path(os.environ.get("TOLLGATE_AGENTS", pathlib.Path(__file__).resolve().parents[2] / "target/tools/agents"))
MODEL = "deepseek-v4-pro"
TASK = "Read north.txt and south.txt in this folder. Then write both words into joined.txt, with one space between them. Say when it is done."
FINAL = "The two words are joined: päivää."
LIMIT_S = 180


# --- the script


def offered(body):
    return {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in body.get("tools") or []}


def fields(tool):
    return (tool.get("properties") or {}).keys()


def by_shell(tool, command):
    """A call of a shell tool, in the form that its schema asks for."""
    for field in ("cmd", "command"):
        if field in fields(tool):
            kind = tool["properties"][field].get("type")
            return {field: ["bash", "-lc", command] if kind == "array" else command}
    raise AssertionError(f"no shell tool: {tool}")


def pick(tools, *names):
    """The first of these tools that is offered; Codex's names may stand behind a namespace."""
    for wanted in names:
        for name, tool in tools.items():
            if name == wanted or re.split(r"[^A-Za-z0-9_]+|__", name)[-1] == wanted:
                return name, tool
    raise AssertionError(f"none of {names} among {sorted(tools)}")


def path_field(tool):
    return next(field for field in ("file_path", "filePath", "path") if field in fields(tool))


class Script:
    def __init__(self, folder):
        self.folder = folder
        self.turns = set()

    def __call__(self, body):
        tools = offered(body)
        if not tools:
            return scripted.Turn("joined words")  # a title, a summary: agents ask aside
        calls = [call["id"] for message in body["messages"] for call in message.get("tool_calls") or []]
        results = {message["tool_call_id"]: text_of(message["content"]) for message in body["messages"] if message["role"] == "tool"}
        # Claude Code tells results in the order in which its tools ended.
        assert sorted(calls) == sorted(results), f"calls {calls} and results {list(results)} do not pair"
        self.turns.add(len(calls))
        if not calls:
            return scripted.Turn("", [self.read(tools, "north.txt"), self.read(tools, "south.txt")], reasoning="First both files: põhi ja lõuna.")
        if len(calls) == 2:
            north, south = (re.search(r"word-\w+", results[call]).group(0) for call in calls)
            return scripted.Turn("Now the third.", [self.write(tools, f"{north} {south}")], reasoning="Both words are known.")
        return scripted.Turn(FINAL, reasoning="It is done.")

    def read(self, tools, file):
        name, tool = pick(tools, "Read", "read", "exec_command", "shell", "shell_command", "local_shell", "Bash", "bash")
        if any(field in fields(tool) for field in ("cmd", "command")):
            return name, by_shell(tool, f"cat {file}")
        return name, {path_field(tool): str(self.folder / file)}

    def write(self, tools, text):
        name, tool = pick(tools, "Write", "write", "exec_command", "shell", "shell_command", "local_shell", "Bash", "bash")
        if any(field in fields(tool) for field in ("cmd", "command")):
            return name, by_shell(tool, f'printf "%s" "{text}" > joined.txt')
        return name, {path_field(tool): str(self.folder / "joined.txt"), "content": text}


def text_of(content):
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)


# --- the agents


def program(pattern):
    found = sorted(TOOLS.glob(pattern))
    assert found, f"{TOOLS}/{pattern} is not there: run tests/run once without --quick"
    return str(found[0])


def claude_code(gateway, home):
    return [
        program("node_modules/@anthropic-ai/claude-code-linux-*/claude"), "-p", TASK, "--model", MODEL,
        "--output-format", "json", "--allowedTools", "Read,Write", "--permission-mode", "acceptEdits",
    ], {
        "ANTHROPIC_BASE_URL": gateway.url, "ANTHROPIC_AUTH_TOKEN": gateway.key,
        "ANTHROPIC_DEFAULT_OPUS_MODEL": MODEL, "ANTHROPIC_DEFAULT_SONNET_MODEL": MODEL, "ANTHROPIC_DEFAULT_HAIKU_MODEL": MODEL,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1", "CLAUDE_CONFIG_DIR": str(home / "claude"),
    }


def codex(gateway, home):
    folder = home / "codex"
    folder.mkdir()
    (folder / "config.toml").write_text(f"""
model = "{MODEL}"
model_provider = "tollgate"
check_for_update_on_startup = false
[model_providers.tollgate]
name = "tollgate"
base_url = "{gateway.url}/v1"
env_key = "TOLLGATE_KEY"
wire_api = "responses"
[analytics]
enabled = false
""")
    return [
        program("node_modules/@openai/codex-linux-*/vendor/*/bin/codex"), "exec", "--skip-git-repo-check", "--json",
        "--dangerously-bypass-approvals-and-sandbox", TASK,
    ], {"CODEX_HOME": str(folder), "TOLLGATE_KEY": gateway.key}


def opencode(gateway, home):
    folder = home / "config" / "opencode"
    folder.mkdir(parents=True)
    (folder / "opencode.json").write_text(json.dumps({
        "$schema": "https://opencode.ai/config.json", "autoupdate": False, "share": "disabled",
        "permission": {"edit": "allow", "bash": "allow", "external_directory": "allow"},
        "provider": {"tollgate": {
            "npm": "@ai-sdk/openai-compatible", "name": "Tollgate",
            "options": {"baseURL": f"{gateway.url}/v1", "apiKey": gateway.key},
            "models": {MODEL: {"name": MODEL, "tool_call": True, "reasoning": True, "limit": {"context": 131072, "output": 8192}}},
        }},
    }))
    return [
        program("node_modules/opencode-linux-*/bin/opencode"), "run", "--format", "json", "--model", f"tollgate/{MODEL}", TASK,
    ], {
        "OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    }


# --- the run


class NoWayOut:
    """A proxy that lets nothing through: what an agent wants beyond loopback fails at once."""

    def __init__(self):
        self.asked = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.refuse, daemon=True).start()

    def refuse(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    self.asked.append(connection.recv(4096).split(b"\r\n")[0].decode("latin-1"))
                    connection.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                except OSError:
                    pass

    def close(self):
        self.listener.close()


def run(command, folder, home, more, way_out):
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "TERM": "dumb", "SHELL": "/bin/bash", "CI": "1",
        "XDG_CONFIG_HOME": str(home / "config"), "XDG_DATA_HOME": str(home / "data"),
        "XDG_CACHE_HOME": str(home / "cache"), "XDG_STATE_HOME": str(home / "state"), "TMPDIR": str(home),
        "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost", **more,
    }
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        environment[name] = environment[name.lower()] = way_out.url
    return subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S,
    )


def claude_code_said(output):
    answer = json.loads(output)
    assert answer["is_error"] is False, answer
    assert answer["usage"]["output_tokens"] > 0
    return answer["result"]


def codex_said(output):
    events = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert not [event for event in events if event["type"] in ("error", "turn.failed")], events
    assert [event for event in events if event["type"] == "turn.completed"], events
    return [event["item"]["text"] for event in events if event["type"] == "item.completed" and event["item"]["type"] == "agent_message"][-1]


def opencode_said(output):
    events = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert not [event for event in events if event["type"] == "error"], events
    return [event["part"]["text"] for event in events if event["type"] == "text"][-1]


AGENTS = {
    "Claude Code": (claude_code, claude_code_said),
    "Codex": (codex, codex_said),
    "opencode": (opencode, opencode_said),
}


@pytest.mark.parametrize("agent", AGENTS)
def test_an_agent_goes_through_its_loop_of_tools(agent, tmp_path):
    folder, home = tmp_path / "project", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    (folder / "north.txt").write_text("word-polaris\n")
    (folder / "south.txt").write_text("word-crux\n")
    script = Script(folder)
    host, way_out = scripted.ScriptedHost(script), NoWayOut()
    begin, said = AGENTS[agent]
    try:
        with Gateway(tmp_path / "gateway", {"deepseek": (host.url, "DEEPSEEK_API_KEY", scripted.KEY)}) as gateway:
            command, more = begin(gateway, home)
            done = run(command, folder, home, more, way_out)
            seen = f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}\n{gateway.log()}\nasked outside: {way_out.asked}"
            assert not host.failures, f"{host.failures}\n{seen}"
            assert not host.refusals, f"the host had to refuse: {host.refusals}\n{seen}"
            assert done.returncode == 0, seen
            joined = folder / "joined.txt"
            assert joined.exists(), seen
            assert joined.read_text().strip() == "word-polaris word-crux"
            assert said(done.stdout) == FINAL, seen
            assert script.turns == {0, 2, 3}, f"calls before each turn: {script.turns}\n{seen}"
            assert all(request["model"] == MODEL for request in host.requests)
    finally:
        host.close()
        way_out.close()
