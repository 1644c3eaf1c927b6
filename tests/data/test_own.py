"""The user's own data, asked for again: the same command, and every way in which it may differ."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cpbench.data.own import Own
from cpbench.errors import UsageError

ROLES = {"user": "who", "item": "what", "time": "at"}
CSV = "who,what,at,then\nann,x,30,31\nann,y,10,11\n"


@pytest.fixture
def asked(tmp_path: Path) -> Own:
    (tmp_path / "events.csv").write_text(CSV)
    (tmp_path / "items.csv").write_text("id,genre\nx,jazz\n")
    return Own("mine", tmp_path / "events.csv", ROLES, tmp_path / "items.csv")


def test_the_same_again(asked: Own, tmp_path: Path) -> None:
    manifest = asked.prepare().manifest
    asked.check(manifest)
    (tmp_path / "copy.csv").write_text(CSV)
    replace(asked, path=tmp_path / "copy.csv", columns=dict(reversed(ROLES.items()))).check(manifest)


@pytest.mark.parametrize(("change", "message"), [
    ({"k_core": 1}, "--k-core was 0, now 1"),
    ({"unit": "ms"}, "--time-unit was s, now ms"),
    ({"columns": {**ROLES, "time": "then"}},
     "--columns was user=who,item=what,time=at, now user=who,item=what,time=then"),
    ({"items": None}, "--items was DIR/items.csv, now none"),
    ({"items": "other.csv"}, "--items DIR/other.csv has other contents"),
    ({"path": "other.csv", "k_core": 2}, "--k-core was 0, now 2; --from DIR/other.csv has other contents"),
])
def test_something_else(asked: Own, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "other.csv").write_text(CSV + "bob,x,5,6\n")
    manifest = asked.prepare().manifest
    change = {key: tmp_path / value if str(value).endswith(".csv") else value for key, value in change.items()}
    with pytest.raises(UsageError) as caught:
        replace(asked, **change).check(manifest)
    assert str(caught.value) == (f"'mine' is prepared already, but otherwise ({message}): add --force to prepare it "
                                 "again, or choose another name").replace("DIR", str(tmp_path))


def test_items_that_were_not_there(asked: Own, tmp_path: Path) -> None:
    manifest = replace(asked, items=None).prepare().manifest
    with pytest.raises(UsageError, match=r"--items was none, now .*items\.csv"):
        asked.check(manifest)
    with pytest.raises(UsageError, match=r"absent\.csv cannot be read: No such file"):
        replace(asked, items=tmp_path / "absent.csv").check(manifest)


def test_what_an_older_manifest_does_not_tell_agrees(asked: Own) -> None:
    manifest = asked.prepare().manifest
    del manifest["options"]
    replace(asked, unit="ms").check(manifest)
    asked.check({})


def test_recboles_items_lie_beside_the_interactions(tmp_path: Path) -> None:
    (tmp_path / "shop.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\nann\tx\t30\n")
    asked = Own("mine", tmp_path / "shop.inter", None)
    manifest = asked.prepare().manifest
    asked.check(manifest)
    (tmp_path / "shop.item").write_text("item_id:token\tgenre:token\nx\tjazz\n")
    with pytest.raises(UsageError, match=r"--items was none, now .*shop\.item"):
        asked.check(manifest)
    asked.check(asked.prepare().manifest)
