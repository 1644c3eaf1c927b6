"""`cpbench datasets`, as a user runs it."""

import json
from pathlib import Path

from tests.cli.process import cpbench


def test_the_list(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "events.csv").write_text("who,what,at\nann,x,1\nann,y,2\n")
    made = cpbench(home, "download", "mine", "--from", str(tmp_path / "events.csv"), "--columns",
                   "user=who,item=what,time=at")
    assert made.returncode == 0, made.stderr
    done = cpbench(home, "datasets", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["datasets"]}
    assert rows["ml-1m"] == {
        "name": "ml-1m", "title": "MovieLens 1M, items with fewer than 5 ratings dropped", "kind": "public",
        "ready": False, "counts": {"users": 6040, "items": 3416, "interactions": 999_611},
        "licence": "GroupLens: research use, no redistribution without permission", "attributes": ["genre"],
        "warnings": [], "damaged": False}
    assert rows["streaming"]["ready"]
    assert rows["streaming"]["kind"] == "simulated"
    assert rows["mine"]["kind"] == "own"
    assert rows["mine"]["ready"]
    assert rows["mine"]["counts"] == {"users": 1, "items": 2, "interactions": 2}

    table = cpbench(home, "datasets", COLUMNS="80")
    assert table.returncode == 0
    for name in rows:
        assert name in table.stdout
    assert table.stderr == ""


def test_damaged_ones_hide_no_others(tmp_path: Path) -> None:
    for name in ("ml-100k", "mine", "streaming"):
        (tmp_path / "prepared" / name).mkdir(parents=True)
        (tmp_path / "prepared" / name / "manifest.json").write_text('{"name": "mi')
    done = cpbench(tmp_path, "datasets", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["datasets"]}
    assert len(rows) > 3
    damaged = {name: row for name, row in rows.items() if row["damaged"]}
    assert {name: row["ready"] for name, row in damaged.items()} == {
        "ml-100k": False, "mine": False, "streaming": True}
    for name, advice in (("ml-100k", "prepare it again with `cpbench download ml-100k --force`"),
                         ("mine", "prepare it again with its own `cpbench download mine --from FILE ... --force`"),
                         ("streaming", "it is generated again when it is next used")):
        [warning] = damaged[name]["warnings"]
        assert warning.startswith(f"{tmp_path / 'prepared' / name / 'manifest.json'} cannot be read (")
        assert warning.endswith(f"; {advice}")
        assert f"warning: {warning}" in done.stderr.splitlines()
    assert "damaged" in cpbench(tmp_path, "datasets").stdout
