"""The gateway draws credentials as the clouds' own SDKs do, and hosts accept what it shows.

A loopback server stands for the issuers and the hosts (issuers.py). Each source is drawn from twice:
by the gateway and by the official SDK (botocore, google-auth, azure-identity), and both must have
asked the same. Needs the binary at $TOLLGATE_BIN (or target/release).
"""

import base64
import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest
from issuers import ROLE, Issuers, new_key

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("TOLLGATE_BIN", ROOT / "target/release/tollgate"))
PATIENCE_S = 60

BEDROCK_OFFER = """
extends = "bedrock"
[[offer]]
model = "deepseek-v4-pro"
id = "deepseek.v4-pro"
snapshot = "0813"
context = 1_048_576
max_output = 131_072
capabilities = ["tools", "thinking"]
regions = ["eu-north-1"]
source = "this test"
read = 2026-11-24
[[offer.tariff]]
name = "2026-04-24"
kind = "list"
from = 2026-04-24T00:00:00Z
known = 2026-04-24T00:00:00Z
flat = { hit = "0.1", miss = "1.0", output = "2.0" }
source = "this test"
read = 2026-11-24
"""
MODELS = {"bedrock": "deepseek-v4-pro", "vertex": "deepseek-v4.1-flash", "azure": "deepseek-v4-pro"}
REGIONS = {"bedrock": "eu-north-1", "vertex": "global", "azure": "global"}


@pytest.fixture(scope="module")
def key():
    return new_key()


@pytest.fixture
def issuers(key):
    issuers = Issuers(certificate=key[1])
    yield issuers
    issuers.close()
    assert issuers.problems == []


class Gateway:
    """A gateway with one account, in an environment that holds nothing but what it is given."""

    def __init__(self, folder, issuers, host, environment, account=""):
        (folder / "deployments").mkdir(parents=True)
        (folder / "deployments/bedrock.toml").write_text(BEDROCK_OFFER)
        config = f'listen = "127.0.0.1:0"\ndata = "data"\ncatalog = ["{ROOT}/config/catalog", "deployments"]\n'
        config += f'[[account]]\nhost = "{host}"\nbase_url = "{issuers.url}/v1"\nregions = ["{REGIONS[host]}"]\n{account}'
        (folder / "tollgate.toml").write_text(config)
        self.model, self.folder, self.lines = MODELS[host], folder, []
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **environment}
        self.process = subprocess.Popen(
            [BINARY, "--config", "tollgate.toml", "serve"], cwd=folder, env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        threading.Thread(target=lambda: self.lines.extend(self.process.stdout), daemon=True).start()
        self.url = self.said(r"listening on (http://\S+)")
        self.key = self.said(r"\b(tg_[A-Za-z0-9]{40,})")

    def said(self, pattern):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for line in list(self.lines):
                if found := re.search(pattern, line):
                    return found.group(1)
            assert self.process.poll() is None, "it ended:\n" + self.log()
            time.sleep(0.02)
        raise AssertionError(f"it never said {pattern}:\n" + self.log())

    def log(self):
        return "".join(self.lines)

    def ask(self):
        body = json.dumps({"model": self.model, "messages": [{"role": "user", "content": "hi"}]}).encode()
        request = urllib.request.Request(f"{self.url}/v1/chat/completions", data=body, headers={
            "authorization": f"Bearer {self.key}", "content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_S)


@pytest.fixture
def start(tmp_path, issuers):
    started = []

    def start(host, environment, account=""):
        gateway = Gateway(tmp_path / f"gateway-{len(started)}", issuers, host, environment, account)
        started.append(gateway)
        return gateway

    yield start
    for gateway in started:
        gateway.stop()
        for secret in ("static-secret", "temporary-secret", "temporary-session", "imds-session", "PRIVATE KEY", "refresh-me", "application-secret"):
            assert secret not in gateway.log()
        assert not re.search(r"token-\d+-", gateway.log())


def asked(issuers):
    """What issuers were asked, without what differs from one request to the next."""
    seen = [dict(request) for request in issuers.seen if "host" not in request]
    for request in seen:
        for secret in ("assertion", "RoleSessionName"):
            request["form"] = {name: value for name, value in request["form"].items() if name != secret}
    issuers.seen.clear()
    return seen


def opened(issuers, gateway):
    """A request through the gateway reaches the host and is let in."""
    status, answer = gateway.ask()
    assert status == 200, (answer, gateway.log(), issuers.problems)
    return [request["shown"] for request in issuers.seen if "host" in request][-1]


# --- AWS


def botocore_draws(monkeypatch, environment):
    import botocore.session

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        if name not in environment:
            monkeypatch.delenv(name, raising=False)
    credentials = botocore.session.Session().get_credentials()
    frozen = credentials.get_frozen_credentials()
    return frozen.access_key, frozen.secret_key, frozen.token


def aws_environments(url, folder):
    token = folder / "web-token"
    token.write_text("the.web.token")
    container_token = folder / "container-token"
    container_token.write_text("container-authorization")
    shared = folder / "credentials"
    shared.write_text("[default]\naws_access_key_id = NOBODY\naws_secret_access_key = x\n"
                      "[work]\naws_access_key_id = AKIDTEST\naws_secret_access_key = static-secret\n")
    none = {"AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_CONFIG_FILE": "/nonexistent"}
    return {
        "environment": {**none, "AWS_ACCESS_KEY_ID": "AKIDTEST", "AWS_SECRET_ACCESS_KEY": "static-secret"},
        "profile": {**none, "AWS_SHARED_CREDENTIALS_FILE": str(shared), "AWS_PROFILE": "work"},
        "web identity": {**none, "AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_ARN": ROLE,
                         "AWS_ENDPOINT_URL_STS": f"{url}/sts/", "AWS_REGION": "eu-north-1", "AWS_DEFAULT_REGION": "eu-north-1"},
        "container": {**none, "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/container",
                      "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(container_token)},
        "container with a token": {**none, "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/container",
                                   "AWS_CONTAINER_AUTHORIZATION_TOKEN": "container-authorization"},
        "instance": {**none, "AWS_EC2_METADATA_SERVICE_ENDPOINT": url},
    }


@pytest.mark.parametrize("source", ["environment", "profile", "web identity", "container", "container with a token", "instance"])
def test_aws_keys_are_drawn_as_botocore_draws_them(source, start, issuers, tmp_path, monkeypatch):
    environment = aws_environments(issuers.url, tmp_path)[source]
    account = 'credentials = "metadata"\n' if source == "instance" else ""
    gateway = start("bedrock", environment, account)
    shown = opened(issuers, gateway)
    assert "/eu-north-1/bedrock/aws4_request" in shown
    ours = asked(issuers)

    id, _, _ = botocore_draws(monkeypatch, environment)
    assert f"Credential={id}/" in shown
    theirs = asked(issuers)
    assert ours == theirs
    assert len(ours) == {"web identity": 1, "container": 1, "container with a token": 1, "instance": 3}.get(source, 0)


def test_the_signing_name_is_a_setting(start, issuers, tmp_path):
    environment = aws_environments(issuers.url, tmp_path)["environment"]
    gateway = start("bedrock", environment, 'signing_name = "bedrock-mantle"\n')
    assert "/eu-north-1/bedrock-mantle/aws4_request" in opened(issuers, gateway)


def test_a_bearer_token_goes_before_access_keys(start, issuers, tmp_path):
    environment = aws_environments(issuers.url, tmp_path)["environment"]
    gateway = start("bedrock", {**environment, "AWS_BEARER_TOKEN_BEDROCK": "a-static-token"})
    assert opened(issuers, gateway) == "Bearer a-static-token"


# --- Google


def google_file(source, issuers, folder, key):
    subject = folder / "subject"
    subject.write_text(json.dumps({"id_token": "the-subject"}) if "field" in source else "the-subject")
    external = {
        "type": "external_account", "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": f"{issuers.url}/exchange/token",
        "credential_source": {"file": str(subject)},
    }
    file = {
        "service account": {
            "type": "service_account", "project_id": "acme-1", "private_key_id": "k1", "private_key": key[0],
            "client_email": "gateway@acme-1.iam.gserviceaccount.com", "token_uri": f"{issuers.url}/google/token",
        },
        "user": {
            "type": "authorized_user", "client_id": "app", "client_secret": "application-secret",
            "refresh_token": "refresh-me", "token_uri": f"{issuers.url}/google/token",
        },
        "external account": external,
        "external account by a field": {**external, "credential_source": {
            "file": str(subject), "format": {"type": "json", "subject_token_field_name": "id_token"}}},
        "impersonation": {**external, "service_account_impersonation_url":
                          f"{issuers.url}/v1/projects/-/serviceAccounts/s@acme-1.iam.gserviceaccount.com:generateAccessToken"},
    }[source]
    path = folder / "google.json"
    path.write_text(json.dumps(file))
    return path


def google_draws(path, source):
    """What google-auth asks with the same file; its own checks of addresses want Google's, by https."""
    import google.auth.external_account
    import google.auth.transport.urllib3
    import google.oauth2.credentials
    import google.oauth2.service_account
    import urllib3
    from google.auth import identity_pool

    scopes = ["https://www.googleapis.com/auth/cloud-platform"]
    info = json.loads(path.read_text())
    if source == "service account":
        credentials = google.oauth2.service_account.Credentials.from_service_account_info(info, scopes=scopes)
    elif source == "user":
        # From a file it takes no other address than Google's.
        credentials = google.oauth2.credentials.Credentials(
            None, info["refresh_token"], token_uri=info["token_uri"], client_id=info["client_id"], client_secret=info["client_secret"])
    else:
        credentials = identity_pool.Credentials.from_info(info, scopes=scopes)
    credentials.refresh(google.auth.transport.urllib3.Request(urllib3.PoolManager()))
    return credentials.token


@pytest.mark.parametrize("source", ["service account", "user", "external account", "external account by a field", "impersonation"])
def test_google_tokens_are_drawn_as_google_auth_draws_them(source, start, issuers, tmp_path, key):
    path = google_file(source, issuers, tmp_path, key)
    gateway = start("vertex", {"GOOGLE_APPLICATION_CREDENTIALS": str(path)})
    token = opened(issuers, gateway).removeprefix("Bearer ")
    ours = asked(issuers)
    theirs_token = google_draws(path, source)
    theirs = asked(issuers)
    for request in ours + theirs:
        request["headers"].pop("authorization", None)  # another token of the same kind
        if request["form"].get("delegates", "") is None:
            del request["form"]["delegates"]
    assert ours == theirs
    if source == "service account":
        mine, google = issuers.tokens[token], issuers.tokens[theirs_token]
        changing = ("iat", "exp")
        assert {k: v for k, v in mine.items() if k not in changing} == {k: v for k, v in google.items() if k not in changing}
        assert mine["exp"] - mine["iat"] == google["exp"] - google["iat"] == 3600


def test_a_service_account_is_also_the_accounts_key_file(start, issuers, tmp_path, key):
    path = google_file("service account", issuers, tmp_path, key)
    gateway = start("vertex", {}, f'key_file = "{path}"\n')
    assert opened(issuers, gateway).startswith("Bearer token-")


def test_googles_metadata_server_is_asked_as_google_auth_asks_it(start, issuers, monkeypatch):
    host = issuers.url.removeprefix("http://")
    gateway = start("vertex", {"GCE_METADATA_HOST": host}, 'credentials = "metadata"\n')
    assert opened(issuers, gateway).startswith("Bearer token-")
    ours = asked(issuers)

    import google.auth.transport.urllib3
    import urllib3
    from google.auth.compute_engine import _metadata

    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", host)
    request = google.auth.transport.urllib3.Request(urllib3.PoolManager())
    _metadata.get_service_account_token(request, scopes=["https://www.googleapis.com/auth/cloud-platform"])
    assert ours == asked(issuers)


# --- Microsoft Entra


def entra_environment(source, url, folder):
    token = folder / "federated"
    token.write_text("the.federated.token")
    application = {"AZURE_TENANT_ID": "tenant-1", "AZURE_CLIENT_ID": "app-1", "AZURE_AUTHORITY_HOST": url}
    return {
        "secret": {**application, "AZURE_CLIENT_SECRET": "application-secret"},
        "federated token": {**application, "AZURE_FEDERATED_TOKEN_FILE": str(token)},
        "app service": {"IDENTITY_ENDPOINT": f"{url}/msi/token", "IDENTITY_HEADER": "identity-header"},
        "machine": {"AZURE_POD_IDENTITY_AUTHORITY_HOST": url},
        "machine with a name": {"AZURE_POD_IDENTITY_AUTHORITY_HOST": url, "AZURE_CLIENT_ID": "identity-1"},
    }[source]


def azure_draws(source, environment, monkeypatch, issuers):
    import azure.identity
    import requests
    from msal.oauth2cli import oauth2

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    scope = "https://cognitiveservices.azure.com/.default"
    if source in ("secret", "federated token"):
        # azure-identity takes no authority without https: msal's client, which it stands on, does.
        proof = {"client_secret": "application-secret"}
        if source == "federated token":
            assertion = pathlib.Path(environment["AZURE_FEDERATED_TOKEN_FILE"]).read_text()
            proof = {"client_assertion": assertion, "client_assertion_type": oauth2.Client.CLIENT_ASSERTION_TYPE_JWT}
        tokens = {"token_endpoint": f"{issuers.url}/tenant-1/oauth2/v2.0/token"}
        client = oauth2.Client(tokens, "app-1", http_client=requests.Session(), **proof)
        return client.obtain_token_for_client(scope=[scope])["access_token"]
    credential = azure.identity.ManagedIdentityCredential(client_id=environment.get("AZURE_CLIENT_ID"))
    return credential.get_token(scope).token


@pytest.mark.parametrize("source", ["secret", "federated token", "app service", "machine", "machine with a name"])
def test_entras_tokens_are_drawn_as_microsofts_libraries_draw_them(source, start, issuers, tmp_path, monkeypatch):
    environment = entra_environment(source, issuers.url, tmp_path)
    account = 'credentials = "metadata"\n' if source.startswith("machine") else ""
    gateway = start("azure", environment, account)
    assert opened(issuers, gateway).startswith("Bearer token-")
    ours = asked(issuers)
    assert azure_draws(source, environment, monkeypatch, issuers)
    theirs = asked(issuers)
    if basic := theirs[-1]["headers"].pop("authorization", None):
        # RFC 6749 has two places for the secret; Entra documents the form, msal uses the header.
        id, secret = base64.b64decode(basic.removeprefix("Basic ")).decode().split(":")
        theirs[-1]["form"] |= {"client_id": id, "client_secret": secret}
    assert ours[-1] == theirs[-1]
    assert len(ours) == 1


def test_azures_key_goes_before_an_application(start, issuers, tmp_path):
    environment = entra_environment("secret", issuers.url, tmp_path)
    gateway = start("azure", {**environment, "AZURE_API_KEY": "azure-key"})
    assert opened(issuers, gateway) == "azure-key"


# --- lives of credentials


def test_a_token_is_drawn_once_for_many_requests(start, issuers, tmp_path):
    gateway = start("azure", entra_environment("secret", issuers.url, tmp_path))
    threads = [threading.Thread(target=gateway.ask) for _ in range(16)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len([request for request in issuers.seen if "host" in request]) == 16
    assert len(asked(issuers)) == 1


def test_an_issuer_that_is_away_is_told_to_the_caller_and_asked_again(start, issuers, tmp_path):
    issuers.broken = True
    gateway = start("azure", entra_environment("secret", issuers.url, tmp_path))
    status, answer = gateway.ask()
    assert status >= 500
    told = json.dumps(answer)
    assert "503" in told and "come back later" in told and "application-secret" not in told, told
    assert not [request for request in issuers.seen if "host" in request], "nothing reached the host"
    issuers.broken = False
    deadline = time.monotonic() + PATIENCE_S
    while gateway.ask()[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_token_that_the_host_refuses_is_replaced(start, issuers, tmp_path):
    gateway = start("azure", entra_environment("secret", issuers.url, tmp_path))
    first = opened(issuers, gateway)
    issuers.refuse_hosts = 1
    assert gateway.ask()[0] != 200
    assert opened(issuers, gateway) not in ("", first)
    assert len(asked(issuers)) == 2


def check(folder, environment, account=""):
    folder.mkdir()
    (folder / "tollgate.toml").write_text(f'catalog = ["{ROOT}/config/catalog"]\n{account}')
    done = subprocess.run([BINARY, "--config", "tollgate.toml", "check", "--json"], cwd=folder, text=True, capture_output=True,
                          env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment})
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    return {one["backend"] for one in said["enabled"]}, {one["host"]: one["reason"] for one in said["disabled"]}


def test_check_says_what_to_set_for_each_cloud(tmp_path):
    _, missing = check(tmp_path / "nothing", {})
    assert "AWS_BEARER_TOKEN_BEDROCK" in missing["bedrock"] and "AWS_ACCESS_KEY_ID" in missing["bedrock"]
    assert "GOOGLE_APPLICATION_CREDENTIALS" in missing["vertex"]
    assert "AZURE_API_KEY" in missing["azure"] and "AZURE_CLIENT_SECRET" in missing["azure"]
    assert all('credentials = "metadata"' in missing[host] for host in MODELS)


def test_check_enables_what_files_and_variables_open_without_asking_anybody(tmp_path, issuers, key):
    path = google_file("service account", issuers, tmp_path, key)
    enabled, _ = check(tmp_path / "google", {"GOOGLE_APPLICATION_CREDENTIALS": str(path)})
    assert any(name.startswith("vertex/default/global/") for name in enabled), "the project is that of the file"

    azure = entra_environment("secret", issuers.url, tmp_path)
    enabled, missing = check(tmp_path / "azure", azure)
    assert "resource" in missing["azure"]
    enabled, _ = check(tmp_path / "azure-2", azure, '[[account]]\nhost = "azure"\nresource = "acme"\nregions = ["global"]\n')
    assert any(name.startswith("azure/default/global/") for name in enabled)
    assert issuers.seen == []
