"""Gateways of their own for a test: `tollgate serve` in a folder, with accounts at hosts that the
test stands up on loopback and no other."""

import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

PATIENCE_S = 60
SHIPPED = pathlib.Path(__file__).resolve().parents[2] / "config" / "catalog"


class Gateway:
    """`accounts`: host name -> (base URL, variable of its key, key). `deployments`: file name -> TOML."""

    def __init__(self, folder, accounts, deployments=None, settings=""):
        binary = os.environ.get("TOLLGATE_BIN")
        assert binary, "TOLLGATE_BIN is not set: run the suites with tests/run"
        self.binary, self.folder = binary, pathlib.Path(folder)
        self.lines = []
        own = self.folder / "deployments"
        own.mkdir(parents=True)
        for name, toml in (deployments or {}).items():
            (own / name).write_text(toml)
        config = f'data = "data"\nlisten = "127.0.0.1:0"\ncatalog = ["{SHIPPED}", "deployments"]\n{settings}'
        for host, (base_url, variable, _) in accounts.items():
            config += f'\n[[account]]\nhost = "{host}"\nkey_env = "{variable}"\n'
            config += f'base_url = "{base_url}"\n' if base_url else ""
        (self.folder / "tollgate.toml").write_text(config)
        keep = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LANG") if name in os.environ}
        self.environment = {**keep, "HOME": str(self.folder), **{variable: key for _, variable, key in accounts.values()}}
        self.process = subprocess.Popen(
            [binary, "--config", "tollgate.toml", "serve"], cwd=self.folder, env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.url = self._said(r"listening on (http://\S+)")
            self.key = self.run("key", "create", "--team", "agents", "--json")["key"]
        except BaseException:
            self.process.kill()
            raise

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def _said(self, pattern):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for line in list(self.lines):
                if found := re.search(pattern, line):
                    return found.group(1)
            assert self.process.poll() is None, "the gateway ended:\n" + self.log()
            time.sleep(0.05)
        raise AssertionError(f"the gateway never said {pattern}:\n" + self.log())

    def log(self):
        return "".join(self.lines)[-8000:]

    def run(self, *arguments):
        """A command beside the running gateway, which prints one JSON document."""
        done = subprocess.run(
            [self.binary, "--config", "tollgate.toml", *arguments], cwd=self.folder, env=self.environment,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S,
        )
        assert done.returncode == 0, f"tollgate {arguments}: {done.stderr}"
        return json.loads(done.stdout)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(PATIENCE_S) == 0, self.log()
        finally:
            if self.process.poll() is None:
                self.process.kill()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        else:
            self.process.kill()
            print("--- the gateway's log ---\n" + self.log())
