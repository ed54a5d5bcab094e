"""The published suite, on each of the engine's own log drivers."""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

import logtargets
from firkin.conformance import logs
from firkin.logger import logger
from firkin.logger.drivers import fluentd, gelf, journald, jsonfile, syslog


class TestJSONFile(logs.DriverSuite):
    exactly_once = True

    def make(self, directory: Path) -> logger.Driver:
        self.directory = directory
        return jsonfile.JSONFile()

    def delivered(self) -> list[tuple[str, str]]:
        found = []
        for path in jsonfile.files(str(self.directory / "container"), logs.ID):
            for line in Path(path).read_text().splitlines():
                record = json.loads(line)
                found.append((record["stream"], record["log"].removesuffix("\n")))
        return found

    def test_records_are_those_that_other_programs_read(self, tmp_path: Path) -> None:
        made = self.make(tmp_path).open(
            self.info(tmp_path, labels="tier", **{"env-regex": "^MO", "tag": "{{.Name}}/{{.ID}}"})
        )
        made.write([logs.entry("a"), logs.entry("b", stream=2, partial=True)])
        (path,) = jsonfile.files(str(tmp_path / "container"), logs.ID)
        first, second = map(json.loads, Path(path).read_text().splitlines())
        attributes = {"tier": "front", "MODE": "test", "tag": "web/c0ffee000000"}
        assert first == {"log": "a\n", "stream": "stdout", "attrs": attributes,
                         "time": "2030-01-02T03:04:00.123456789Z"}  # fmt: skip
        assert (second["log"], second["stream"]) == ("b", "stderr")

    def test_rotation(self, tmp_path: Path) -> None:
        made = self.make(tmp_path).open(
            self.info(tmp_path, **{"max-size": "1k", "max-file": "3", "compress": "true"})
        )
        for number in range(60):
            made.write([logs.entry(f"line {number}")])
        names = [Path(p).name.partition(".")[2] for p in
                 jsonfile.files(str(tmp_path / "container"), logs.ID)]  # fmt: skip
        assert names == ["log.2.gz", "log.1.gz", "log"]


class _Network(logs.DriverSuite):
    target: logtargets.Target

    @pytest.fixture(autouse=True)
    def listening(self, tmp_path: Path) -> Iterator[None]:
        self.target = self.listen(tmp_path)
        yield
        self.target.close()

    def listen(self, directory: Path) -> logtargets.Target:
        raise NotImplementedError

    def delivered(self) -> list[tuple[str, str]]:
        self.target.settle()
        return self.received()

    def received(self) -> list[tuple[str, str]]:
        raise NotImplementedError


SYSLOG = re.compile(rb"<(\d+)>(\w{3} [ \d]\d [\d:]{8}) c0ffee000000\[\d+\]: (.*)", re.DOTALL)


class TestSyslogTCP(_Network):
    def listen(self, directory: Path) -> logtargets.Target:
        return logtargets.Target.tcp()

    def make(self, directory: Path) -> logger.Driver:
        self.options = {"syslog-address": f"tcp://127.0.0.1:{self.target.port}"}
        return syslog.Syslog()

    def received(self) -> list[tuple[str, str]]:
        found = []
        for line in self.target.data.split(b"\n")[:-1]:
            match = SYSLOG.fullmatch(line)
            assert match, line
            assert match[2] == b"Jan  2 03:04:" + match[2][-2:]
            source = {b"30": "stdout", b"27": "stderr"}[match[1]]
            found.append((source, match[3].decode("utf-8", "replace")))
        return found


class TestSyslogUDP(TestSyslogTCP):
    def listen(self, directory: Path) -> logtargets.Target:
        return logtargets.Target.udp()

    def make(self, directory: Path) -> logger.Driver:
        self.options = {"syslog-address": f"udp://127.0.0.1:{self.target.port}"}
        return syslog.Syslog()

    def received(self) -> list[tuple[str, str]]:
        self.target.data = b"".join(self.target.packets)
        return super().received()


class TestSyslogUnix(TestSyslogUDP):
    def listen(self, directory: Path) -> logtargets.Target:
        return logtargets.Target.unix(directory / "log")

    def make(self, directory: Path) -> logger.Driver:
        self.options = {"syslog-address": f"unixgram://{directory}/log"}
        return syslog.Syslog()


class TestSyslogTLS(_Network):
    def listen(self, directory: Path) -> logtargets.Target:
        cert, key = logtargets.certificate(directory)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        return logtargets.Target.tcp(context)

    def make(self, directory: Path) -> logger.Driver:
        self.options = {
            "syslog-address": f"tcp+tls://localhost:{self.target.port}",
            "syslog-tls-ca-cert": str(directory / "cert.pem"),
            "syslog-format": "rfc5424micro",
            "syslog-facility": "local3",
        }
        return syslog.Syslog()

    def received(self) -> list[tuple[str, str]]:
        found, rest = [], self.target.data
        while rest:
            digits, _, rest = rest.partition(b" ")
            message, rest = rest[: int(digits)], rest[int(digits) :]
            when = rb"<(\d+)>1 2030-01-02T03:04:\d\d.123456Z"
            whence = rb" host c0ffee000000 \d+ c0ffee000000 - (.*)"
            match = re.fullmatch(when + whence, message, re.DOTALL)
            assert match, message
            source = {b"158": "stdout", b"155": "stderr"}[match[1]]
            found.append((source, match[2].decode("utf-8", "replace")))
        return found

    def test_a_stranger_is_refused(self, tmp_path: Path) -> None:
        driver = self.make(tmp_path)
        self.options.pop("syslog-tls-ca-cert")
        with pytest.raises(OSError):
            driver.open(self.info(tmp_path))
        self.options["syslog-tls-skip-verify"] = "true"
        driver.open(self.info(tmp_path)).close()


class TestFluentd(_Network):
    def listen(self, directory: Path) -> logtargets.Target:
        return logtargets.Fluentd(socket.create_server(("127.0.0.1", 0)))

    def make(self, directory: Path) -> logger.Driver:
        self.options = {
            "fluentd-address": f"127.0.0.1:{self.target.port}",
            "fluentd-request-ack": "true",
            "tag": "docker.{{.Name}}",
            "labels": "tier",
        }
        return fluentd.Fluentd()

    def received(self) -> list[tuple[str, str]]:
        assert isinstance(self.target, logtargets.Fluentd)
        assert {message[0] for message in self.target.messages()} <= {"docker.web"}
        found = []
        for when, record in self.target.events():
            assert 1_893_553_440 <= when < 1_893_553_500
            assert record["container_id"] == logs.ID and record["container_name"] == "/web"
            assert record["tier"] == "front"
            found.append((record["source"], record["log"]))
        return found


class TestGelfUDP(_Network):
    def listen(self, directory: Path) -> logtargets.Target:
        return logtargets.Target.udp()

    def make(self, directory: Path) -> logger.Driver:
        self.options = {"gelf-address": f"udp://127.0.0.1:{self.target.port}", "env": "MODE"}
        return gelf.Gelf()

    def messages(self) -> list[dict[str, object]]:
        return logtargets.gelf_messages(self.target.packets)

    def received(self) -> list[tuple[str, str]]:
        found = []
        for message in self.messages():
            assert message["version"] == "1.1" and message["host"] == "host"
            assert message["_container_name"] == "web" and message["_MODE"] == "test"
            assert 1_893_553_440 <= float(str(message["timestamp"])) < 1_893_553_500
            source = "stderr" if message["level"] == 3 else "stdout"
            found.append((source, str(message["short_message"])))
        return found

    def test_a_message_longer_than_a_packet(self, tmp_path: Path) -> None:
        driver = self.make(tmp_path)
        made = driver.open(self.info(tmp_path, **{"gelf-compression-type": "none"}))
        made.write([logs.entry("y" * 9000)])
        assert self.delivered() == [("stdout", "y" * 9000)]
        assert len(self.target.packets) > 5
        made.close()


class TestGelfTCP(TestGelfUDP):
    def listen(self, directory: Path) -> logtargets.Target:
        return logtargets.Target.tcp()

    def make(self, directory: Path) -> logger.Driver:
        self.options = {"gelf-address": f"tcp://127.0.0.1:{self.target.port}", "env": "MODE"}
        return gelf.Gelf()

    def messages(self) -> list[dict[str, object]]:
        return [json.loads(text) for text in self.target.data.split(b"\0")[:-1]]

    def test_a_message_longer_than_a_packet(self, tmp_path: Path) -> None:
        made = self.make(tmp_path).open(self.info(tmp_path))
        made.write([logs.entry("y" * 9000)])
        assert self.delivered() == [("stdout", "y" * 9000)]
        made.close()


class TestJournald(_Network):
    def listen(self, directory: Path) -> logtargets.Target:
        return logtargets.Target.unix(directory / "journal")

    def make(self, directory: Path) -> logger.Driver:
        self.options = {"tag": "{{.ImageName}}", "labels-regex": "^te"}
        return journald.Journald(str(directory / "journal"))

    def received(self) -> list[tuple[str, str]]:
        found = []
        for packet in self.target.packets:
            fields = logtargets.journal_fields(packet)
            assert fields["CONTAINER_ID_FULL"].decode() == logs.ID
            assert fields["CONTAINER_TAG"] == fields["SYSLOG_IDENTIFIER"] == b"busybox:latest"
            assert fields["TEAM"] == b"a" and "TIER" not in fields
            source = "stderr" if fields["PRIORITY"] == b"3" else "stdout"
            found.append((source, fields["MESSAGE"].decode("utf-8", "replace")))
        return found
