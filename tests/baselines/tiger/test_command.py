"""`cpbench run --model tiger`, from text to lists."""

import json
from pathlib import Path

from tests.baselines.tiger.small import SMALL
from tests.cli.process import cpbench
from tests.experiments.tiny import place, tiny

SETTINGS = [f"--set={key}={value}" for key, value in {**SMALL, "beam": 20, "epochs": 2, "batch_size": 16}.items()]


def test_a_run_says_how_its_semantic_ids_are_and_that_it_is_ranked_by_its_beam(tmp_path: Path) -> None:
    place(tmp_path, tiny())
    place(tmp_path, tiny("other", seed=6))
    results = tmp_path / "results"
    run = ("run", "--model", "tiger", "--results", results, *SETTINGS)
    done = cpbench(tmp_path, *run, "--dataset", "tiny", "--json")
    assert done.returncode == 0, done.stderr
    assert ("semantic ids from '{title}. genre: {genre}.' by tf-idf and rk-means, the last codes shared out: "
            "codes used 4 of 4") in done.stderr
    made = json.loads(done.stdout)["runs"][0]
    assert made["record"]["notes"]["beam"] == 20 and made["record"]["information"] == ["categories", "text"]
    assert "HR@20" in made["record"]["metrics"]["test"] and "HR@50" not in made["record"]["metrics"]["test"]

    shown = cpbench(tmp_path, "recommend", "tiger", "--user", "u3", "--condition", "genre=g1", "--results", results,
                    "--json")
    assert shown.returncode == 0, shown.stderr
    plain, filtered = json.loads(shown.stdout)["users"][0]["lists"]
    assert len({item["id"] for item in plain["items"]}) == 10
    assert filtered["items"] and all(item["values"]["genre"] == ["g1"] for item in filtered["items"])

    tokens = Path(made["folder"]) / "model" / "tokeniser"
    other = cpbench(tmp_path, *run, "--dataset", "other", f"--set=tokens={tokens}")
    assert other.returncode == 2 and "this tokeniser was made for tiny (" in other.stderr
