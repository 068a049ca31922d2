"""Signatures by botocore's SigV4Auth, an implementation of independent origin.

Writes gateway/src/backend/auth/sigv4_vectors.json, which the Rust tests are held against;
test_signatures.py checks that the recorded ones are still what botocore says.
"""

import datetime as dt
import json
import pathlib
from unittest import mock

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

VECTORS = pathlib.Path(__file__).resolve().parents[2] / "gateway/src/backend/auth/sigv4_vectors.json"

ID, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
RUNTIME = "https://bedrock-runtime.eu-north-1.amazonaws.com"
MANTLE = "https://bedrock-mantle.us-east-1.api.aws"
JSON = {"content-type": "application/json"}
CHAT = '{"model":"deepseek.v3.2","messages":[{"role":"user","content":"Grüße, 世界"}]}'

# name, method, address, headers, body, session, region, service, instant
CASES = [
    ("chat on mantle", "POST", f"{MANTLE}/v1/chat/completions", JSON, CHAT, None, "us-east-1", "bedrock", "2026-11-24T02:00:00Z"),
    ("mantle's other name", "POST", f"{MANTLE}/v1/chat/completions", JSON, CHAT, None, "us-east-1", "bedrock-mantle", "2026-11-24T02:00:00Z"),
    ("a session", "POST", f"{MANTLE}/v1/chat/completions", JSON, CHAT, "FwoGZXIvYXdzE+/session==", "us-east-1", "bedrock", "2026-11-24T23:59:59Z"),
    ("a colon in the id, encoded", "POST", f"{RUNTIME}/model/deepseek.v3-v1%3A0/converse", JSON, "{}", None, "eu-north-1", "bedrock", "2027-01-01T00:00:00Z"),
    ("a colon in the id, as it is", "POST", f"{RUNTIME}/model/deepseek.v3-v1:0/converse-stream", JSON, "{}", None, "eu-north-1", "bedrock", "2027-01-01T00:00:00Z"),
    ("an arn in the path", "POST", f"{RUNTIME}/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.deepseek.r1-v1%3A0/converse", JSON, "{}", None, "us-east-1", "bedrock", "2026-02-28T12:34:56Z"),
    ("nothing in the body", "GET", f"{RUNTIME}/", {}, "", None, "eu-north-1", "bedrock", "2026-11-24T02:00:00Z"),
    ("a query out of order", "GET", f"{RUNTIME}/models?b=2&a=%7E1&a=0&empty=&flag", {}, "", None, "eu-north-1", "bedrock", "2026-11-24T02:00:00Z"),
    ("a port", "POST", "http://127.0.0.1:8080/v1/chat/completions", JSON, "{}", None, "us-east-1", "bedrock", "2026-11-24T02:00:00Z"),
    ("the scheme's own port", "POST", "https://vpce-1.example:443/v1/chat/completions", JSON, "{}", None, "us-east-1", "bedrock", "2026-11-24T02:00:00Z"),
    ("dots and slashes", "POST", f"{RUNTIME}//model/./a/../b/", JSON, "{}", None, "eu-north-1", "bedrock", "2026-11-24T02:00:00Z"),
    ("spaces in a header", "POST", f"{RUNTIME}/model/x/converse", {"content-type": "  application/json;   charset=utf-8 ", "x-amz-target": "a  b"}, "{}", None, "eu-north-1", "bedrock", "2026-11-24T02:00:00Z"),
    ("a long body", "POST", f"{RUNTIME}/model/x/converse", JSON, "0123456789" * 5000, None, "eu-north-1", "bedrock", "2026-11-24T02:00:00Z"),
]


def signed(case):
    name, method, url, headers, body, session, region, service, instant = case
    request = AWSRequest(method=method, url=url, headers=headers, data=body.encode())
    then = dt.datetime.fromisoformat(instant).replace(tzinfo=None)
    frozen = mock.Mock(wraps=dt.datetime, utcnow=lambda: then, now=lambda *_: then)
    # One of the two is how botocore asks for the time, by its version.
    with mock.patch.object(botocore.auth, "get_current_datetime", lambda *_, **__: then, create=True), \
            mock.patch.object(botocore.auth, "datetime", mock.Mock(datetime=frozen), create=True):
        botocore.auth.SigV4Auth(Credentials(ID, SECRET, session), service, region).add_auth(request)
    return {
        "name": name, "method": method, "url": url, "headers": headers, "body": body, "session": session,
        "region": region, "service": service, "instant": instant, "authorization": request.headers["Authorization"],
    }


def vectors():
    return {"id": ID, "secret": SECRET, "vectors": [signed(case) for case in CASES]}


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n")
