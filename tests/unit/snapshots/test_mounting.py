from firkin.snapshots import mounting


def test_127_layers_fit_in_a_page() -> None:
    root = "/var/lib/a/rather/long/directory/name/of/a/data/root/snapshots"
    lower = ":".join(f"{root}/{number}/fs" for number in range(100_000, 100_127))
    options = [f"upperdir={root}/7/fs", f"workdir={root}/7/work", f"lowerdir={lower}", "index=off"]
    directory, data = mounting._shorten(options)
    assert directory == root
    assert data.startswith("upperdir=7/fs,workdir=7/work,lowerdir=100000/fs:100001/fs:")
    assert data.endswith(":100126/fs,index=off")
    assert len(data) < 4096


def test_options_without_paths_stay() -> None:
    assert mounting._shorten(["size=1m", "mode=755"]) == ("/", "size=1m,mode=755")
