"""Usage from cgroup files of both versions."""

from __future__ import annotations

from pathlib import Path

from firkin.linux import cgroup, usage

V1 = cgroup.Layout(1, False, ("cpu", "memory"), ())
V2 = cgroup.Layout(2, False, (), ("cpu", "memory"))


def tree(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def test_unified(tmp_path: Path) -> None:
    root = tree(tmp_path, {
        "g/c/cpu.stat": "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnr_periods 4\n"
                        "nr_throttled 2\nthrottled_usec 70\n",
        "g/c/memory.current": "4096\n",
        "g/c/memory.max": "max\n",
        "g/c/memory.stat": "anon 100\nfile 200\ninactive_file 50\n",
        "g/c/pids.current": "3\n",
        "g/c/pids.max": "40\n",
        "g/c/io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n253:1 \n",
    })  # fmt: skip
    found = usage.Reader(V2, "/g/c", root).read()
    assert found is not None
    assert (found.cpu, found.cpu_user, found.cpu_kernel) == (1_500_000, 1_000_000, 500_000)
    assert (found.periods, found.throttled_periods, found.throttled) == (4, 2, 70_000)
    assert (found.memory, found.memory_limit, found.memory_stat["inactive_file"]) == (4096, 0, 50)
    assert (found.pids, found.pids_limit) == (3, 40)
    assert found.block_bytes == [usage.Block(8, 0, "read", 10), usage.Block(8, 0, "write", 20)]
    assert [block.value for block in found.block_operations] == [1, 2]


def test_legacy(tmp_path: Path) -> None:
    root = tree(tmp_path, {
        "cpuacct/c/cpuacct.usage_all": "cpu user system\n0 10 1\n1 20 2\n",
        "cpu/c/cpu.stat": "nr_periods 1\nnr_throttled 1\nthrottled_time 9\n",
        "memory/c/memory.usage_in_bytes": "77\n",
        "memory/c/memory.max_usage_in_bytes": "99\n",
        "memory/c/memory.failcnt": "5\n",
        "memory/c/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/c/memory.stat": "cache 1\ntotal_inactive_file 2\n",
        "pids/c/pids.current": "1\n",
        "pids/c/pids.max": "max\n",
        "blkio/c/blkio.throttle.io_service_bytes_recursive": "8:0 Read 5\n8:0 Total 5\nTotal 5\n",
    })  # fmt: skip
    found = usage.Reader(V1, "/c", root).read()
    assert found is not None
    assert (found.cpu, found.per_cpu, found.cpu_user) == (33, [11, 22], 30)
    assert (found.memory, found.memory_max, found.memory_failures) == (77, 99, 5)
    assert (found.memory_limit, found.pids_limit) == (0, 0)
    assert found.block_bytes == [usage.Block(8, 0, "read", 5), usage.Block(8, 0, "total", 5)]
    assert found.block_operations == []


def test_a_group_that_is_gone(tmp_path: Path) -> None:
    assert usage.Reader(V1, "/c", str(tmp_path)).read() is None
    assert usage.Reader(V2, "/c", str(tmp_path)).read() is None


def test_this_process() -> None:
    assert usage.processors().online >= 1
    assert "lo" not in usage.interfaces(1)
