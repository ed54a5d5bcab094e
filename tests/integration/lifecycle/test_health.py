"""Health checks: states, log, events, what a failure leads to, a hung probe, a killed engine."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

import unixhttp
from rig import Engine

pytestmark = pytest.mark.root
FAST = ("--health-interval", "200ms", "--health-timeout", "20s", "--health-retries", "2")


def health(engine: Engine, name: str) -> Any:
    return json.loads(engine.out("inspect", "-f", "{{json .State}}", name))["Health"]


def wait_for(engine: Engine, name: str, status: str) -> Any:
    deadline = time.monotonic() + 60
    while (found := health(engine, name))["Status"] != status:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


def test_from_starting_to_healthy_to_unhealthy_and_back(engine: Engine, client: str) -> None:
    engine.run(
        "run", "-d", "--name", "hc", *FAST, "--health-cmd", "echo looking; test -e /well",
        "busybox", "sleep", "1000", client=client,
    )  # fmt: skip
    assert health(engine, "hc")["Status"] in ("starting", "unhealthy")
    found = wait_for(engine, "hc", "unhealthy")
    assert found["FailingStreak"] >= 2
    assert found["Log"][-1]["ExitCode"] == 1
    assert found["Log"][-1]["Output"] == "looking\n"
    engine.run("exec", "hc", "touch", "/well")
    found = wait_for(engine, "hc", "healthy")
    assert found["FailingStreak"] == 0
    assert "(healthy)" in engine.out("ps", client=client)
    assert engine.out("ps", "-q", "--filter", "health=healthy", client=client)
    assert not engine.out("ps", "-q", "--filter", "health=unhealthy", client=client)
    deadline = time.monotonic() + 60
    while len(log := health(engine, "hc")["Log"]) < 5 or any(one["ExitCode"] for one in log):
        assert time.monotonic() < deadline and len(log) <= 5
        time.sleep(0.1)
    said = engine.out("events", "--since", "1h", "--until", "0s", "--filter", "container=hc")
    for words in ("health_status: healthy", "health_status: unhealthy", "exec_create: /bin/sh -c",
                  "exec_die"):  # fmt: skip
        assert words in said, words
    engine.run("stop", "-t", "0", "hc", client=client)
    assert health(engine, "hc")["Status"] == "unhealthy"


def test_list_and_inspect_by_raw_http(engine: Engine) -> None:
    body = {
        "Image": "busybox", "Cmd": ["sleep", "1000"],
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 200_000_000},
    }  # fmt: skip
    ask = unixhttp.ask
    assert ask(engine.socket, "POST", "/containers/create?name=rawhc", body)[0] == 201
    assert ask(engine.socket, "POST", "/containers/rawhc/start")[0] == 204
    wait_for(engine, "rawhc", "healthy")
    for version, shown in (("v1.52", {"Status": "healthy", "FailingStreak": 0}), ("v1.51", None)):
        listed = ask(engine.socket, "GET", f"/{version}/containers/json")[1]
        assert listed[0].get("Health") == shown
    engine.run("create", "--name", "plain", "busybox")
    listed = ask(engine.socket, "GET", "/v1.56/containers/json?all=1")[1]
    assert listed[0]["Health"] == {"Status": "none", "FailingStreak": 0}


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({"Test": ["CMD", "true"], "Interval": 5}, "cannot be less than 1ms"),
        ({"Test": ["CMD", "true"], "Retries": -1}, "cannot be negative"),
        ({"Test": ["SHELL", "true"]}, "NONE, CMD or CMD-SHELL"),
        ({"Test": ["CMD"]}, "no command"),
        ({"Test": ["CMD", "true"], "OnFailure": "dance"}, "use none, kill, restart or stop"),
    ],
)
def test_refused(engine: Engine, check: dict[str, Any], words: str) -> None:
    body = {"Image": "busybox", "Healthcheck": check}
    status, answer = unixhttp.ask(engine.socket, "POST", "/containers/create", body)
    assert (status, words in answer["message"]) == (400, True), answer


def test_from_the_image_and_overridden(engine: Engine) -> None:
    engine.run("create", "--name", "base", "busybox", "sleep", "1000")
    engine.run(
        "commit", "-c", 'HEALTHCHECK --interval=200ms --retries=7 CMD test -e /bin/busybox',
        "base", "checked", check=False,
    )  # fmt: skip
    if engine.run("image", "inspect", "checked", check=False).returncode:
        pytest.skip("this engine's commit does not take HEALTHCHECK")
    engine.run("run", "-d", "--name", "img", "checked")
    wait_for(engine, "img", "healthy")
    engine.run("run", "-d", "--name", "off", "--no-healthcheck", "checked")
    assert "Health" not in json.loads(engine.out("inspect", "off"))[0]["State"]
    engine.run("run", "-d", "--name", "other", "--health-retries", "3", "checked")
    shown = json.loads(engine.out("inspect", "other"))[0]["Config"]["Healthcheck"]
    assert (shown["Retries"], shown["Interval"]) == (3, 200_000_000)


def test_failures_in_the_start_period_do_not_count(engine: Engine) -> None:
    engine.run(
        "run", "-d", "--name", "slow", "--health-cmd", "test -e /well", "--health-interval", "20s",
        "--health-start-interval", "100ms", "--health-start-period", "300s", "--health-retries",
        "1", "busybox", "sleep", "1000",
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not health(engine, "slow")["Log"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert health(engine, "slow")["Status"] == "starting"
    engine.run("exec", "slow", "touch", "/well")
    wait_for(engine, "slow", "healthy")


def test_a_hung_probe_is_killed_with_all_its_processes(engine: Engine) -> None:
    engine.run(
        "run", "-d", "--name", "hung", "--health-cmd", "sleep 771 & sleep 772", "--health-interval",
        "200ms", "--health-timeout", "300ms", "--health-retries", "1", "busybox", "sleep", "1000",
    )  # fmt: skip
    found = wait_for(engine, "hung", "unhealthy")
    assert found["Log"][-1]["ExitCode"] == -1
    assert "exceeded timeout (300ms)" in found["Log"][-1]["Output"]
    engine.run("pause", "hung")  # no further probe
    engine.run("unpause", "hung")
    engine.run("update", "--label-add", "x=1", "hung")
    deadline = time.monotonic() + 60
    while engine.out("exec", "hung", "ps").count("sleep 77") > 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_endless_output_is_cut(engine: Engine) -> None:
    engine.run(
        "run", "-d", "--name", "yes", "--health-cmd", "yes", "--health-interval", "200ms",
        "--health-timeout", "500ms", "--health-retries", "1", "busybox", "sleep", "1000",
    )  # fmt: skip
    found = wait_for(engine, "yes", "unhealthy")
    assert 4000 < len(found["Log"][-1]["Output"]) < 4300


@pytest.mark.parametrize("action", ["kill", "restart", "stop"])
def test_what_follows_a_failure(engine: Engine, action: str) -> None:
    policy = ("--restart", "on-failure") if action == "kill" else ()
    engine.run(
        "run", "-d", "--name", "act", *policy, "--health-cmd", "false", "--health-interval",
        "300ms", "--health-retries", "1", "--health-on-failure", action, "-t", "--stop-timeout",
        "0", "busybox", "sleep", "1000",
    )  # fmt: skip
    first = engine.out("inspect", "-f", "{{.State.StartedAt}}", "act")
    deadline = time.monotonic() + 60
    while True:
        state = json.loads(engine.out("inspect", "-f", "{{json .State}}", "act"))
        if action == "stop" and state["Status"] == "exited":
            break
        if action != "stop" and state["Running"] and state["StartedAt"] != first:
            break
        assert time.monotonic() < deadline, state
        time.sleep(0.1)


def test_a_killed_engine_knows_the_health_and_goes_on(engine: Engine) -> None:
    engine.run(
        "run", "-d", "--name", "on", *FAST, "--health-cmd", "test -e /well || sleep 773",
        "busybox", "sh", "-c", "touch /well; sleep 1000",
    )  # fmt: skip
    wait_for(engine, "on", "healthy")
    engine.run("exec", "on", "rm", "/well")  # the next probe hangs
    deadline = time.monotonic() + 60
    while "sleep 773" not in engine.out("exec", "on", "ps"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    engine.end(9)
    engine.start()
    assert health(engine, "on")["Status"] == "healthy"
    engine.run("exec", "on", "touch", "/well")
    before = len(health(engine, "on")["Log"])
    deadline = time.monotonic() + 60
    while "sleep 773" in engine.out("exec", "on", "ps") or not before:
        assert time.monotonic() < deadline, "the probe of the engine before still runs"
        time.sleep(0.1)
