"""One session at a shell, from a user's own file to the table: every command once, each a process of its own."""

import json
from pathlib import Path

from tests.cli.process import own_process
from tests.cli.refusal import refused

SMALL = ("--set", "epochs=1", "--set", "width=8", "--set", "category_width=2", "--seeds", "1")
SESSION: tuple[tuple[str, ...], ...] = (
    ("download", "mine", "--from", "events.csv", "--columns", "user=user,item=item,time=time", "--items",
     "items.csv"),
    ("datasets",),
    ("inspect", "mine"),
    ("export-data", "mine", "--format", "recbole", "--out", "exported"),
    ("models",),
    ("check-model", "popularity"),
    ("run", "--model", "popularity,climber-pilot", "--dataset", "mine", *SMALL[:-2]),
    ("tune", "--model", "ease", "--dataset", "mine", "--try", "ridge=10,100", "--trials", "2"),
    ("ablate", "branches", "--dataset", "mine", "--variant", "K = 2", "--serving-lag", "0", *SMALL),
    ("recommend", "popularity", "--user", "u1"),
    ("eval", "lists.csv", "--dataset", "mine", "--name", "ours"),
    ("report", "--dataset", "mine"),
    ("verify",),
    ("run", "--model", "popularity", "--dataset", "streaming"),
    ("simulate", "--policy", "streaming/popularity", "--users", "20", "--days", "2"),
    ("bench", "serve", "--users", "2", "--length", "8", "--width", "20", "--items", "60", "--repeats", "1"),
)


def test_every_command_answers_in_a_process_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "a [folder] of 100 %?"  # what means something to a shell means nothing here
    folder.mkdir()
    rows = [f"u{user},i{(user + 2 * step) % 25},{1000 * step + user}"
            for user in range(40) for step in range(10)]
    (folder / "events.csv").write_text("\n".join(["user,item,time", *rows]))
    (folder / "items.csv").write_text("\n".join(["id,genre", *(f"i{item},g{item % 3}" for item in range(25))]))
    lists = [f"u{user},i{item},{item}" for user in range(40) for item in range(1, 11)]
    (folder / "lists.csv").write_text("\n".join(["user,item,rank", *lists]))
    for command in SESSION:
        done = own_process(folder, *command, "--json")
        assert done.returncode == 0, (command, done.stderr)
        assert isinstance(json.loads(done.stdout), dict), command
    runs = sorted(str(path.parent) for path in (folder / "results" / "mine").rglob("record.json")
                  if "popularity" in path.parts or "ours" in path.parts)
    compared = own_process(folder, "diff", *runs)
    assert compared.returncode == 0 and "HR@10" in compared.stdout, compared.stderr
    assert "did you mean 'sasrec'" in refused(own_process(folder, "run", "--model", "sasrc"), 2)
    assert "no run record" in refused(own_process(folder, "report", "--results", "nowhere"), 2)
