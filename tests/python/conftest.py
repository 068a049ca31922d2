"""Starts the gateway that the suites talk to: `tollgate demo`, which needs no account."""

import os
import re
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field

import pytest

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
