"""One loopback server that stands for every issuer of credentials and for the hosts they open.

It records each request. As a host it checks the credential as the host would: signatures with
botocore, tokens by what it issued itself; assertions of service accounts are verified by google-auth.
"""

import datetime as dt
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock

import botocore.auth
import google.auth.jwt
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

SECRETS = {"AKIDTEST": "static-secret", "ASIATEST": "temporary-secret"}
SESSION = "temporary-session"
ROLE = "arn:aws:iam::123456789012:role/pods"
ANSWER = {
    "id": "1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6},
}

CONVERSED = {
    "output": {"message": {"role": "assistant", "content": [{"text": "hello"}]}}, "stopReason": "end_turn",
    "usage": {"inputTokens": 5, "outputTokens": 1, "totalTokens": 6}, "metrics": {"latencyMs": 1},
}


class Issuers:
    def __init__(self, certificate=None):
        self.certificate = certificate
        self.seen, self.problems, self.tokens = [], [], {}
        self.life_s = 3600
        self.refuse_hosts = 0
        self.broken = False
        self.lock = threading.Lock()
        issuers = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                with issuers.lock:
                    status, content = issuers.answer(self.command, self.path, self.headers, body)
                content = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                kind = "text/plain" if content[:1] not in b"{[<" else "application/json"
                self.send_header("content-type", "text/xml" if content[:1] == b"<" else kind)
                self.send_header("content-length", str(len(content)))
                self.send_header("metadata-flavor", "Google")
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = handle_any

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, method, path, headers, body):
        url = urllib.parse.urlsplit(path)
        query = dict(urllib.parse.parse_qsl(url.query))
        form = dict(urllib.parse.parse_qsl(body.decode("utf-8", "replace"))) if not body.startswith(b"{") else json.loads(body)
        if url.path.endswith(("/chat/completions", "/converse")):
            return self.host(method, path, headers, body)
        ours = ("metadata", "metadata-flavor", "x-identity-header", "authorization", "x-aws-ec2-metadata-token", "x-aws-ec2-metadata-token-ttl-seconds")
        self.seen.append({
            "method": method, "path": url.path, "query": query, "form": form,
            "headers": {name: headers[name] for name in ours if name in headers},
        })
        if self.broken:
            return 503, {"error": "temporarily_unavailable", "error_description": "come back later"}
        return self.issue(url.path, query, form)

    # --- issuers

    def issue(self, path, query, form):
        ends = (dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=self.life_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
        keys = {"AccessKeyId": "ASIATEST", "SecretAccessKey": SECRETS["ASIATEST"], "Token": SESSION, "Expiration": ends}
        if path == "/sts/" or path == "/sts":
            return 200, f"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIATEST</AccessKeyId>
<SecretAccessKey>{SECRETS["ASIATEST"]}</SecretAccessKey><SessionToken>{SESSION}</SessionToken>
<Expiration>{ends}</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>""".encode()
        if path == "/container":
            return 200, keys
        if path == "/latest/api/token":
            return 200, b"imds-session"
        if path == "/latest/meta-data/iam/security-credentials/":
            return 200, b"role-of-machine"
        if path == "/latest/meta-data/iam/security-credentials/role-of-machine":
            return 200, {"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": ends, **keys}
        if path == "/google/token" and form.get("grant_type", "").endswith("jwt-bearer"):
            claims = google.auth.jwt.decode(form["assertion"], certs=self.certificate, audience="https://oauth2.googleapis.com/token")
            return 200, self.token("service-account", claims=claims)
        if path.endswith(":generateAccessToken"):
            token = self.token("impersonated")["access_token"]
            return 200, {"accessToken": token, "expireTime": ends}
        if path.startswith("/metadata/identity") or path == "/msi/token":
            token = self.token("managed")
            return 200, {**token, "expires_in": str(token["expires_in"]), "expires_on": str(int(dt.datetime.now().timestamp()) + self.life_s)}
        if "token" in path:
            return 200, self.token(form.get("grant_type", "metadata"))
        self.problems.append(f"nobody is at {path}")
        return 404, {"error": "not_found"}

    def token(self, what, claims=None):
        token = f"token-{len(self.tokens) + 1}-{what.rsplit(':', 1)[-1]}"
        self.tokens[token] = claims
        return {"access_token": token, "expires_in": self.life_s, "token_type": "Bearer"}

    # --- hosts

    def host(self, method, path, headers, body):
        shown = headers.get("authorization", "")
        if self.refuse_hosts:
            self.refuse_hosts -= 1
            self.seen.append({"host": path, "shown": shown})
            return 401, {"error": {"message": "expired", "type": "auth"}}
        if shown.startswith("AWS4-HMAC-SHA256"):
            fine = self.is_signed(method, path, headers, body, shown)
        elif "api-key" in headers:
            fine = headers["api-key"] == "azure-key"
        else:
            fine = shown.removeprefix("Bearer ") in self.tokens or shown == "Bearer a-static-token"
        self.seen.append({"host": path, "shown": shown or headers.get("api-key")})
        answer = CONVERSED if path.endswith("/converse") else ANSWER
        return (200, answer) if fine else (401, {"error": {"message": "not opened", "type": "auth"}})

    def is_signed(self, method, path, headers, body, shown):
        """Signs what came once more with botocore: the header must be the same."""
        access, day, region, service = shown.split("Credential=")[1].split(", ")[0].split("/")[:4]
        names = shown.split("SignedHeaders=")[1].split(",")[0].split(";")
        then = dt.datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
        kept = {name: headers[name] for name in names if name not in ("x-amz-date", "x-amz-security-token", "host")}
        request = AWSRequest(method=method, url=f"http://{headers['host']}{path}", headers=kept, data=body)
        session = headers.get("x-amz-security-token")
        with mock.patch.object(botocore.auth, "get_current_datetime", lambda *_, **__: then):
            botocore.auth.SigV4Auth(Credentials(access, SECRETS[access], session), service, region).add_auth(request)
        recent = abs((dt.datetime.now(dt.timezone.utc).replace(tzinfo=None) - then).total_seconds()) < 60
        same = request.headers["Authorization"] == shown
        if not (recent and same and (access != "ASIATEST" or session == SESSION)):
            self.problems.append(f"signed as {shown}, botocore says {request.headers['Authorization']}")
            return False
        return True


def new_key():
    """An RSA key as PKCS #8, and a certificate of it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.timezone.utc)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private.decode(), certificate.public_bytes(pem)
