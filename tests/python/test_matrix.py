"""Every cell of the matrix, and that the README tells what it is."""

import contextlib
import json
import os
import pathlib
import subprocess

import matrix
from conftest import start_demo, stop
from gateways import Gateway

NODE = pathlib.Path(__file__).resolve().parents[1] / "node"
OFFER = """extends = "{host}"

[[offer]]
model = "{model}"
id = "{id}"
snapshot = "{snapshot}"
context = 1_048_576
max_output = 393_216
capabilities = ["tools", "forced_tools", "json_object", "thinking"]
{regions}
source = "the test suite"
read = 2026-11-24

[[offer.tariff]]
name = "test"
kind = "list"
from = 2026-01-01T00:00:00Z
known = 2026-01-01T00:00:00Z
flat = {{ hit = "0.1", miss = "1", output = "2" }}
source = "the test suite"
read = 2026-11-24
"""


@contextlib.contextmanager
def aimock():
    """npm's aimock as an upstream: tests/node/aimock.mjs says how it answers."""
    node = os.environ.get("TOLLGATE_NODE") or next(iter(sorted(NODE.glob("node_modules/node-linux-*/bin/node"))), None)
    assert node, "tests/node has no node_modules: run tests/run once without --quick"
    mock = subprocess.Popen([node, NODE / "aimock.mjs"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    try:
        yield json.loads(mock.stdout.readline())["url"]
    finally:
        mock.terminate()
        mock.wait(30)


def accounts(url):
    return {
        "deepseek": (f"{url}/v1", "DEEPSEEK_API_KEY", "sk-aimock"),
        "fireworks": (f"{url}/inference/v1", "FIREWORKS_API_KEY", "sk-aimock"),
        "together": (f"{url}/v1", "TOGETHER_API_KEY", "sk-aimock"),
        "siliconflow": (f"{url}/v1", "SILICONFLOW_API_KEY", "sk-aimock"),
        "azure": (f"{url}/openai/v1", "AZURE_API_KEY", "sk-aimock"),
        "vertex": (f"{url}/v1", "VERTEX_ACCESS_TOKEN", "sk-aimock"),
        "bedrock": (url, "AWS_BEARER_TOKEN_BEDROCK", "sk-aimock"),
    }


DEPLOYMENTS = {
    "siliconflow.toml": OFFER.format(
        host="siliconflow", model="deepseek-v4-pro", id="deepseek-ai/DeepSeek-V4-Pro:test", snapshot="0813", regions=""),
    "bedrock.toml": OFFER.format(
        host="bedrock", model="deepseek-v4-pro", id="deepseek.v4-pro", snapshot="0813", regions='regions = ["eu-north-1"]',
    ).replace('"json_object", ', ""),
}


@contextlib.contextmanager
def gateways(folder):
    (folder / "demo").mkdir()
    demo = start_demo(folder / "demo", "--requests", "20")
    try:
        with aimock() as url, Gateway(folder / "gateway", accounts(url), DEPLOYMENTS) as other:
            yield demo, other
    finally:
        stop(demo)


def test_every_cell_is_right_or_refused_and_the_readme_says_which(tmp_path):
    with gateways(tmp_path) as both:
        found = matrix.run(*both)
    assert not matrix.wrong(found), json.dumps(matrix.wrong(found), indent=1)
    assert matrix.in_readme(matrix.README.read_text()) == matrix.table(found), (
        "README.md tells another matrix: run target/venv/bin/python tests/python/matrix.py --write"
    )
