"""Starts the gateways that the suites talk to: `tollgate demo`, which needs no account, and gateways
in front of a scripted host.

To try the suites themselves against another server, name it: TOLLGATE_ENDPOINT (without /v1) and
TOLLGATE_ENDPOINT_KEY. Then what only a gateway does is left out; `tests/run` leaves nothing out.
"""

import os
import re
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field

import pytest

from gateways import Gateway
from scripted import KEY, ScriptedHost

PATIENCE_S = 60


@dataclass
class Demo:
    """A running demonstration: where it listens, and a key that it gave."""

    process: subprocess.Popen
    lines: list[str] = field(default_factory=list)
    url: str = ""
    key: str = ""

    def read(self, pipe):
        for line in pipe:
            self.lines.append(line)

    def said(self, pattern):
        """Waits for a line that matches."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for line in list(self.lines):
                if found := re.search(pattern, line):
                    return found.group(1)
            assert self.process.poll() is None, "the demo ended:\n" + "".join(self.lines)
            time.sleep(0.05)
        raise AssertionError(f"the demo never said {pattern}:\n" + "".join(self.lines))


def start_demo(folder, *arguments):
    binary = os.environ.get("TOLLGATE_BIN")
    assert binary, "TOLLGATE_BIN is not set: run the suites with tests/run"
    process = subprocess.Popen(
        [binary, "demo", "--listen", "127.0.0.1:0", *arguments],
        cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={key: value for key, value in os.environ.items() if key != "DATABASE_URL"},
    )
    demo = Demo(process)
    threading.Thread(target=demo.read, args=(process.stdout,), daemon=True).start()
    demo.url = demo.said(r"listening on (http://\S+)")
    demo.key = demo.said(r"\b(tg_[A-Za-z0-9]{40,})")
    return demo


def stop(demo):
    demo.process.send_signal(signal.SIGTERM)
    assert demo.process.wait(PATIENCE_S) == 0, "".join(demo.lines)[-3000:]


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    demo = start_demo(tmp_path_factory.mktemp("demo"))
    yield demo
    stop(demo)


@dataclass
class Endpoint:
    """Where a client is pointed: a base without `/v1`, and a key."""

    url: str
    key: str


@pytest.fixture(scope="session")
def endpoint(request):
    if other := os.environ.get("TOLLGATE_ENDPOINT"):
        return Endpoint(other, os.environ.get("TOLLGATE_ENDPOINT_KEY", "none"))
    demo = request.getfixturevalue("demo")
    return Endpoint(demo.url, demo.key)


@pytest.fixture
def scripted(tmp_path):
    """`scripted(script, settings="")`: a gateway whose only host answers by the script, at `.host`."""
    begun = []

    def begin(script, settings=""):
        host = ScriptedHost(script)
        begun.append(host)
        gateway = Gateway(tmp_path / f"gateway-{len(begun)}", {"deepseek": (host.url, "DEEPSEEK_API_KEY", KEY)}, settings=settings)
        gateway.host = host
        begun.append(gateway)
        return gateway

    yield begin
    for one in reversed(begun):
        one.stop() if isinstance(one, Gateway) else one.close()
        assert not getattr(one, "failures", []), one.failures


def pytest_configure(config):
    config.addinivalue_line("markers", "gateway: holds of Tollgate only, not of any server of the dialect")


def pytest_collection_modifyitems(items):
    if not os.environ.get("TOLLGATE_ENDPOINT"):
        return
    for item in items:
        if item.get_closest_marker("gateway") or {"demo", "scripted"} & set(item.fixturenames):
            item.add_marker(pytest.mark.skip(reason="not a gateway under test, but another server"))
