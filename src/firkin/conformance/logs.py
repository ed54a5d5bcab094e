"""The conformance suite of ``firkin.logger.logger.Driver``."""

from __future__ import annotations

from pathlib import Path

from firkin import errdefs
from firkin.logger import logger, options

ID = "c0ffee" + "0" * 58


def entry(text: str, *, stream: int = 1, partial: bool = False, second: int = 0) -> logger.Entry:
    """An entry with a time of its own."""
    stamp = f"2030-01-02T03:04:{second:02d}.123456789Z"
    return logger.Entry(stamp.encode(), stream, text.encode(), partial)


class DriverSuite:
    """Derive ``Test...`` from this and override :meth:`make` and :meth:`delivered`."""

    options: dict[str, str] = {}
    """Options that ``validate`` and ``open`` need to succeed."""
    exactly_once = False
    """Whether the driver makes use of the state, so that nothing is delivered twice."""

    def make(self, directory: Path) -> logger.Driver:
        """A driver that delivers to a target of the test's own below ``directory``."""
        raise NotImplementedError

    def delivered(self) -> list[tuple[str, str]]:
        """What the target has got by now, in order: ("stdout" or "stderr" or "", text).

        It may wait a little for what is on its way.
        """
        raise NotImplementedError

    def info(self, directory: Path, **more: str) -> logger.Info:
        """A container."""
        home = directory / "container"
        home.mkdir(exist_ok=True)
        return logger.Info(
            id=ID,
            name="web",
            image_id="sha256:" + "ab" * 32,
            image="busybox:latest",
            created=1_900_000_000_000_000_000,
            args=("sh", "-c", "echo"),
            hostname="host",
            directory=str(home),
            options={**self.options, **more},
            labels={"tier": "front", "team": "a"},
            env=["MODE=test", "EMPTY="],
        )

    def _check(self, directory: Path, wanted: list[tuple[str, str]]) -> None:
        found = self.delivered()
        if any(not source for source, _ in found):  # a target that is not told of streams
            assert [text for _, text in found] == [text for _, text in wanted]
        else:
            assert found == wanted

    def test_has_a_name_and_options(self, tmp_path: Path) -> None:
        driver = self.make(tmp_path)
        assert driver.name and isinstance(driver.options, frozenset)
        options.check(driver, self.options, reads=False)

    def test_unknown_options_are_refused(self, tmp_path: Path) -> None:
        driver = self.make(tmp_path)
        try:
            options.check(driver, {**self.options, "no-such-option": "1"}, reads=False)
        except errdefs.InvalidParameter as error:
            assert "no-such-option" in str(error)
        else:
            raise AssertionError("an unknown option was accepted")

    def test_entries_arrive_in_order_and_whole(self, tmp_path: Path) -> None:
        made = self.make(tmp_path).open(self.info(tmp_path))
        wanted = [("stdout", f"line {n}") for n in range(200)]
        made.write([entry(text, second=n % 60) for n, (_, text) in enumerate(wanted[:120])])
        made.write([entry(text) for _, text in wanted[120:]])
        self._check(tmp_path, wanted)
        made.close()

    def test_both_streams_and_odd_text(self, tmp_path: Path) -> None:
        made = self.make(tmp_path).open(self.info(tmp_path))
        made.write([entry('say "hé" <&> \\ \t!'), entry("oh", stream=2), entry("", stream=1)])
        self._check(tmp_path, [("stdout", 'say "hé" <&> \\ \t!'), ("stderr", "oh"), ("stdout", "")])
        made.close()

    def test_bytes_that_are_no_text_do_no_harm(self, tmp_path: Path) -> None:
        made = self.make(tmp_path).open(self.info(tmp_path))
        made.write([logger.Entry(entry("").time, 1, b"a\xff\xfe\x00z"), entry("after")])
        found = self.delivered()
        assert len(found) == 2 and found[1][1] == "after"
        made.close()

    def test_long_lines_come_in_parts(self, tmp_path: Path) -> None:
        made = self.make(tmp_path).open(self.info(tmp_path))
        made.write([entry("x" * 16384, partial=True), entry("end")])
        texts = [text for _, text in self.delivered()]
        assert "".join(texts) == "x" * 16384 + "end"
        made.close()

    def test_nothing_is_something_too(self, tmp_path: Path) -> None:
        made = self.make(tmp_path).open(self.info(tmp_path))
        made.write([])
        made.write([entry("one")])
        assert [text for _, text in self.delivered()] == ["one"]
        made.close()

    def test_opened_again_it_goes_on(self, tmp_path: Path) -> None:
        driver = self.make(tmp_path)
        made = driver.open(self.info(tmp_path))
        state = made.write([entry("one")])
        made.close()
        made = driver.open(self.info(tmp_path), state)
        made.write([entry("two")])
        assert [text for _, text in self.delivered()] == ["one", "two"]
        made.close()

    def test_what_was_written_and_not_kept_comes_once_more(self, tmp_path: Path) -> None:
        driver = self.make(tmp_path)
        made = driver.open(self.info(tmp_path))
        state = made.write([entry("one")])
        made.write([entry("two")])  # the engine is killed: this state is never kept
        again = driver.open(self.info(tmp_path), state)
        again.write([entry("two"), entry("three")])
        texts = [text for _, text in self.delivered()]
        expected = ["one", "two", "three"] if self.exactly_once else ["one", "two", "two", "three"]
        assert texts == expected
        again.close()
        made.close()
