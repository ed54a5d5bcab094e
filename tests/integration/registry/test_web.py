"""The web page, over HTTP and in headless Chromium."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

import registryrig as rig
from rig import settled

USERS = '[auth]\nmode = "users"\nanonymous = "pull"\n'
EVIL = "<script>document.title='owned'</script>\"'&"


def fill(http: rig.Http) -> None:
    config = {
        "architecture": "arm64", "os": "linux", "created": "2026-01-02T03:04:05Z",
        "config": {"Cmd": ["sh", "-c", EVIL], "User": EVIL},
        "history": [{"created_by": f"RUN {EVIL}"}, {"created_by": "CMD", "empty_layer": True}],
    }  # fmt: skip
    data = rig.encode(config)
    layer = b"l" * 1_500_000
    for blob in (data, layer):
        http.push_blob("team/web", blob)
    digest = http.push_manifest("team/web", "v1", rig.image(data, layer))
    http.push_manifest("team/web", "v2", rig.image(data, layer))
    size = len(http.get("/v2/team/web/manifests/v1").body)
    index = rig.index((digest, size))
    index["manifests"][0]["platform"] = {"os": "linux", "architecture": "arm64", "variant": "v8"}
    http.push_manifest("team/web", "all", index)
    http.push_image(
        "team/web", "", artifactType=EVIL,
        subject={"mediaType": rig.OCI_MANIFEST, "digest": digest, "size": size},
    )  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rig.Server]:
    with rig.serving(tmp_path_factory.mktemp("web"), USERS) as server:
        done = server.run(
            "user", "--admin", "--password-stdin", "--", "add", "ann", stdin="ann-pw\n"
        )
        assert done.returncode == 0, done.stderr
        fill(rig.Http("127.0.0.1", server.port, rig.basic("ann", "ann-pw")))
        yield server


def target(path: str, **query: str) -> str:
    return f"{path}?{urlencode(query)}"


def test_pages(server: rig.Server) -> None:
    assert server.http.get("/").headers["Location"] == "/ui/"
    home = server.http.get("/ui/")
    assert home.status == 200
    assert b"team/web" in home.body
    assert b"no repository" in server.http.get("/ui/?q=zzz").body.lower()
    page = server.http.get(target("/ui/repository", name="team/web")).body.decode()
    assert f"docker pull 127.0.0.1:{server.port}/team/web:all" in page
    assert "linux/arm64/v8" in page
    page = server.http.get(target("/ui/manifest", name="team/web", reference="v1")).body.decode()
    for part in ("1.5 MB", "linux/arm64", "RUN", "Referrers", rig.OCI_MANIFEST):
        assert part in page


def test_everything_is_escaped_and_confined(server: rig.Server) -> None:
    for path in (
        "/ui/", target("/ui/", q=EVIL), target("/ui/repository", name="team/web"),
        target("/ui/repository", name=EVIL), target("/ui/repository", name="none"),
        target("/ui/manifest", name="team/web", reference="v1"),
        target("/ui/manifest", name="team/web", reference=EVIL), "/ui/none",
    ):  # fmt: skip
        answer = server.http.get(path)
        assert b"<script>" not in answer.body
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert server.http.get("/ui/static/style.css").status == 200
    for name in ("../pages.py", "..%2fpages.py", "none"):
        assert server.http.get(f"/ui/static/{name}").status == 404


def test_deleting_needs_rights_and_a_form_of_ours(server: rig.Server) -> None:
    place = target("/ui/delete", name="team/web", reference="v2")
    assert server.http.get(place).status == 403
    assert server.http.get("/ui/login").headers["WWW-Authenticate"].startswith("Basic")
    ann = rig.Http("127.0.0.1", server.port, rig.basic("ann", "ann-pw"))
    page = ann.get(place).body.decode()
    match = re.search('name="mark" value="([0-9a-f]+)"', page)
    assert match

    def post(http: rig.Http, mark: str, reference: str = "v2", site: str = "same-origin") -> int:
        form = urlencode({"name": "team/web", "reference": reference, "mark": mark})
        return http.ask("POST", "/ui/delete", form, {"Sec-Fetch-Site": site}).status

    assert post(ann, "0" * 64) == 403
    assert post(ann, match[1], site="cross-site") == 403
    assert post(ann, match[1], reference="v1") == 403
    assert post(server.http, match[1]) == 403
    assert ann.get("/v2/team/web/manifests/v2").status == 200
    assert post(ann, match[1]) == 303
    assert ann.get("/v2/team/web/manifests/v2").status == 404


needs_chromium = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")), reason="needs chromium"
)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync",
        "disable-dev-shm-usage", f"user-data-dir={tmp_path}/profile", "window-size=390,844",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    yield made
    made.quit()


@needs_chromium
def test_in_a_browser(server: rig.Server, browser: Any) -> None:
    from selenium.webdriver.common.by import By

    ann = rig.Http("127.0.0.1", server.port, rig.basic("ann", "ann-pw"))
    ann.push_image("team/gone", "old")
    browser.get(f"http://ann:ann-pw@{server.name}/ui/login")
    browser.get(f"http://{server.name}/ui/")
    assert browser.find_element(By.CLASS_NAME, "user").text == "ann"
    wide = "return document.documentElement.scrollWidth <= window.innerWidth"
    assert browser.execute_script(wide)  # nothing to scroll sideways on a phone
    browser.find_element(By.LINK_TEXT, "team/web").click()
    browser.find_element(By.LINK_TEXT, "v1").click()
    assert browser.execute_script(wide)
    assert browser.title.startswith("team/web:v1")
    assert "owned" not in browser.title
    style = browser.find_element(By.CLASS_NAME, "command").value_of_css_property("display")
    assert style == "flex"  # the policy lets our own style in
    assert browser.find_element(By.CLASS_NAME, "copy").is_displayed()  # and our script
    browser.get(f"http://{server.name}{target('/ui/manifest', name='team/gone', reference='old')}")
    browser.find_element(By.LINK_TEXT, "Delete…").click()
    browser.find_element(By.LINK_TEXT, "Keep it").click()
    browser.find_element(By.LINK_TEXT, "Delete…").click()
    browser.find_element(By.CSS_SELECTOR, "button.danger").click()
    assert settled(lambda: ann.get("/v2/team/gone/tags/list").json["tags"] == [])
    assert browser.current_url.startswith(f"http://{server.name}/ui/")
    problems = [
        entry for entry in browser.get_log("browser")
        if entry["level"] == "SEVERE" and "favicon" not in entry["message"]
    ]  # fmt: skip
    assert problems == []
