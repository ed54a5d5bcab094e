"""Who may do what: htpasswd, the token service, rights, guessing, TLS."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import bcrypt
import pytest

import registryrig as rig

USERS = '[auth]\nmode = "users"\n'


def add(server: rig.Server, name: str, *words: str) -> None:
    done = server.run("user", *words, "--password-stdin", "--", "add", name, stdin=f"{name}-pw\n")
    assert done.returncode == 0, done.stderr


def token(server: rig.Server, user: str, scope: str, **more: str) -> rig.Answer:
    headers = rig.basic(user, f"{user}-pw") if user else {}
    extra = "".join(f"&{key}={value}" for key, value in more.items())
    target = f"/token?service=firkin-registry&scope={scope}{extra}"
    return server.http.ask("GET", target, None, headers)


def bearer(server: rig.Server, user: str, scope: str) -> rig.Http:
    found = token(server, user, scope).json["token"]
    return rig.Http("127.0.0.1", server.port, {"Authorization": f"Bearer {found}"})


def test_htpasswd(tmp_path: Path) -> None:
    file = tmp_path / "htpasswd"
    stored = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    file.write_text(f"# users\nbob:{stored}\nold:$apr1$x$y\n")
    with rig.serving(tmp_path, "", "--htpasswd", str(file)) as server:
        answer = server.http.get("/v2/")
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
        assert answer.headers["WWW-Authenticate"].startswith('Basic realm="Firkin registry"')
        for user, password in (("bob", "wrong"), ("old", "y"), ("nobody", ""), ("", "")):
            answer = server.http.ask("GET", "/v2/", None, rig.basic(user, password))
            assert answer.status == 401
        assert server.http.get("/v2/", Authorization="Basic !!!").status == 401
        assert server.http.get("/v2/", Authorization="Digest x").status == 401
        bob = rig.Http("127.0.0.1", server.port, rig.basic("bob", "secret"))
        assert bob.get("/v2/").status == 200
        bob.push_image("a", "v1")
        assert server.http.get("/v2/a/manifests/v1").status == 401
        file.write_text(f"eve:{stored}\n")
        assert bob.get("/v2/").status == 401
        assert server.http.ask("GET", "/v2/", None, rig.basic("eve", "secret")).status == 200


def test_rights_of_htpasswd_users(tmp_path: Path) -> None:
    stored = bcrypt.hashpw(b"pw", bcrypt.gensalt(4)).decode()
    (tmp_path / "htpasswd").write_text(f"ci:{stored}\ndev:{stored}\n")
    config = f"""
    [auth]
    mode = "htpasswd"
    htpasswd = "{tmp_path}/htpasswd"
    [[auth.rights]]
    user = "ci"
    repositories = "app/*"
    actions = ["*"]
    [[auth.rights]]
    user = "*"
    repositories = "app/*"
    actions = ["pull"]
    """
    with rig.serving(tmp_path, config) as server:
        ci, dev = (
            rig.Http("127.0.0.1", server.port, rig.basic(user, "pw")) for user in ("ci", "dev")
        )
        ci.push_image("app/web", "v1")
        assert dev.get("/v2/app/web/manifests/v1").status == 200
        answer = dev.ask("POST", "/v2/app/web/blobs/uploads/", b"")
        assert (answer.status, answer.code) == (403, "DENIED")
        assert dev.get("/v2/other/tags/list").code == "DENIED"
        assert dev.ask("DELETE", "/v2/app/web/manifests/v1").status == 403
        assert ci.ask("DELETE", "/v2/app/web/manifests/v1").status == 202


def test_token_service(tmp_path: Path) -> None:
    with rig.serving(tmp_path, USERS) as server:
        add(server, "root", "--admin")
        add(server, "alice", "--right", "team/*:pull,push", "--right", "{user}/*:*")
        answer = server.http.ask("POST", "/v2/team/a/blobs/uploads/", b"")
        assert answer.status == 401
        challenge = answer.headers["WWW-Authenticate"]
        assert challenge == (
            f'Bearer realm="http://{server.name}/token",service="firkin-registry",'
            'scope="repository:team/a:pull,push"'
        )
        alice = bearer(server, "alice", "repository:team/a:pull,push")
        alice.push_image("team/a", "v1", b"layer")
        assert alice.get("/v2/").status == 200
        for target in ("/v2/team/b/tags/list", "/v2/alice/x/tags/list"):
            answer = alice.get(target)  # the token is for another repository
            assert (answer.status, "scope=" in answer.headers["WWW-Authenticate"]) == (401, True)
        assert alice.ask("DELETE", "/v2/team/a/manifests/v1").status == 401
        assert (
            bearer(server, "", "repository:team/a:pull").get("/v2/team/a/tags/list").status == 401
        )
        assert token(server, "alice", "repository:other:*").json["token"]
        other = bearer(server, "alice", "repository:other:*&scope=repository:alice/x:*")
        assert other.get("/v2/other/tags/list").status == 401
        other.push_image("alice/x", "v1")
        root = bearer(server, "root", "repository:team/a:delete,pull")
        assert root.get("/v2/_catalog").json["repositories"] == ["alice/x", "team/a"]
        assert alice.get("/v2/_catalog").json["repositories"] == ["alice/x", "team/a"]
        add(server, "bob", "--right", "team/*:pull")
        bob = bearer(server, "bob", "")
        assert bob.get("/v2/_catalog").json["repositories"] == ["team/a"]
        assert root.ask("DELETE", "/v2/team/a/manifests/v1").status == 202
        # Basic is enough for simple clients.
        direct = rig.Http("127.0.0.1", server.port, rig.basic("alice", "alice-pw"))
        assert direct.get("/v2/team/a/tags/list").status == 200
        assert direct.get("/v2/b/tags/list").code == "DENIED"
        listed = server.run("user", "ls").stdout
        assert "team/*:pull,push" in listed
        assert "alice-pw" not in listed
        assert server.run("user", "rm", "alice").returncode == 0
        assert direct.get("/v2/team/a/tags/list").status == 401
        assert server.run("user", "rm", "alice").returncode == 1


def test_blobs_are_readable_only_where_one_may_read(tmp_path: Path) -> None:
    with rig.serving(tmp_path, USERS) as server:
        add(server, "alice", "--right", "a:*")
        add(server, "bob", "--right", "b:*")
        alice, bob = (
            rig.Http("127.0.0.1", server.port, rig.basic(n, f"{n}-pw")) for n in ("alice", "bob")
        )
        digest = alice.push_blob("a", b"secret")
        assert bob.get(f"/v2/b/blobs/{digest}").status == 404
        answer = bob.ask("POST", f"/v2/b/blobs/uploads/?mount={digest}&from=a", b"")
        assert answer.status == 202
        assert bob.get(f"/v2/b/blobs/{digest}").status == 404
        assert bob.push_blob("b", b"secret") == digest


def test_refresh_tokens(tmp_path: Path) -> None:
    with rig.serving(tmp_path, USERS) as server:
        add(server, "alice", "--right", "a:*")
        refresh = token(server, "alice", "", offline_token="true").json["refresh_token"]
        assert "refresh_token" not in token(server, "", "", offline_token="true").json

        def redeem(text: str) -> rig.Answer:
            form = f"grant_type=refresh_token&scope=repository:a:pull,push&refresh_token={text}"
            return server.http.ask("POST", "/token", form)

        found = redeem(refresh).json["access_token"]
        client = rig.Http("127.0.0.1", server.port, {"Authorization": f"Bearer {found}"})
        client.push_image("a", "v1")
        assert redeem("other").status == 401
        form = "grant_type=password&username=alice&password=alice-pw&access_type=offline&scope="
        assert server.http.ask("POST", "/token", form).json["refresh_token"]
        assert server.http.ask("POST", "/token", form.replace("alice-pw", "x")).status == 401
        assert server.http.ask("POST", "/token", "grant_type=x").status == 400
        assert server.http.ask("POST", "/token", b"x" * 100_000).status == 413
        add(server, "alice", "--right", "a:*")  # a new password ends the sessions
        assert redeem(refresh).status == 401


def test_a_token_buys_no_other_token(tmp_path: Path) -> None:
    with rig.serving(tmp_path, USERS) as server:
        add(server, "alice", "--right", "a:*")
        scope = "repository:a:pull"
        given = {"Authorization": f"Bearer {token(server, 'alice', scope).json['token']}"}
        for more in ("", "&offline_token=true"):
            answer = server.http.ask("GET", f"/token?scope={scope}{more}", None, given)
            assert (answer.status, answer.code) == (401, "UNAUTHORIZED")


def test_tokens_of_others(tmp_path: Path) -> None:
    with rig.serving(tmp_path, USERS) as server:
        add(server, "alice", "--right", "a:*")
        found = token(server, "alice", "repository:a:pull").json["token"]
        head, body, signature = found.split(".")

        def ask(text: str) -> int:
            return server.http.get("/v2/a/tags/list", Authorization=f"Bearer {text}").status

        assert ask(found) == 404  # allowed, and not there
        none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
        claims = json.loads(base64.urlsafe_b64decode(body + "=="))
        claims["access"] = [{"type": "repository", "name": "a", "actions": ["*", "pull"]}]
        forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        for text in (f"{none}.{body}.", f"{head}.{forged}.{signature}", "x", "", f"{head}.{body}"):
            assert ask(text) == 401


def test_expired_tokens(tmp_path: Path) -> None:
    with rig.serving(tmp_path, USERS + "token_lifetime = -5\n") as server:
        add(server, "alice", "--right", "a:*")
        answer = bearer(server, "alice", "repository:a:pull").get("/v2/a/tags/list")
        assert answer.status == 401
        assert "expired" in answer.json["errors"][0]["message"]


def test_anonymous_pull(tmp_path: Path) -> None:
    with rig.serving(tmp_path, USERS + 'anonymous = "pull"\n') as server:
        add(server, "alice", "--right", "*:*")
        answer = server.http.get("/v2/")
        assert (answer.status, answer.headers["WWW-Authenticate"][:6]) == (401, "Bearer")
        bearer(server, "alice", "repository:a:push,pull").push_image("a", "v1")
        assert server.http.get("/v2/a/manifests/v1").status == 200
        nobody = bearer(server, "", "repository:a:pull,push")
        assert nobody.get("/v2/").status == 200
        assert nobody.get("/v2/a/manifests/v1").status == 200
        assert nobody.ask("POST", "/v2/a/blobs/uploads/", b"").status == 401
        assert server.http.ask("DELETE", "/v2/a/manifests/v1").status == 401


def test_guessing_is_slowed_down(tmp_path: Path) -> None:
    with rig.serving(tmp_path, USERS, "--workers", "2") as server:
        add(server, "alice", "--right", "*:*")
        add(server, "bob", "--right", "*:*")
        found = [
            server.http.ask("GET", "/v2/", None, rig.basic("alice", f"guess {n}"))
            for n in range(12)
        ]
        assert [answer.status for answer in found[:4]] == [401] * 4
        last = found[-1]
        assert (last.status, last.code) == (429, "TOOMANYREQUESTS")
        assert int(last.headers["Retry-After"]) >= 1
        assert server.http.ask("GET", "/v2/", None, rig.basic("bob", "bob-pw")).status == 200


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ("lisen = 'x'", "lisen"), ("workers = 'x'", "workers"), ("[auth]\nmode='x'", "auth.mode"),
        ("x =", "not valid TOML"), ("[auth]\nmode='htpasswd'", "auth.htpasswd"),
        ("[auth]\nmode='htpasswd'\nhtpasswd='/nonexistent'", "/nonexistent"),
        ("[tls]\ncertificate='/nonexistent'\nkey='/x'", "/nonexistent"),
        ("listen = 'nowhere'", "HOST:PORT"),
    ],
)  # fmt: skip
def test_wrong_configuration_is_refused(tmp_path: Path, config: str, part: str) -> None:
    file = tmp_path / "registry.toml"
    file.write_text(config)
    server = rig.Server(tmp_path, config)
    done = server.run("serve")
    assert done.returncode == 1
    assert part in done.stderr
    assert "Traceback" not in done.stderr


def test_tls(tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    files = (
        "--tls-certificate",
        str(tmp_path / "cert.pem"),
        "--tls-key",
        str(tmp_path / "key.pem"),
    )
    with rig.serving(tmp_path, USERS, *files) as server:
        context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))

        class Https(rig.Http):
            def connection(self) -> http.client.HTTPConnection:
                return http.client.HTTPSConnection(self.host, self.port, context=context)

        add(server, "alice", "--admin")
        client = Https("127.0.0.1", server.port, rig.basic("alice", "alice-pw"))
        data = bytes(range(256)) * 20_000
        digest = client.push_blob("a", data)
        assert client.get(f"/v2/a/blobs/{digest}").body == data
        assert client.get(f"/v2/a/blobs/{digest}", Range="bytes=7-99").body == data[7:100]
        bare = Https("127.0.0.1", server.port).get("/v2/")
        realm = bare.headers["WWW-Authenticate"].split('"')[1]
        assert urlsplit(realm).scheme == "https"
        assert parse_qs(urlsplit(realm).query) == {}
