import json
import re
import signal
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest

from tests.cli.process import cpbench, on_a_terminal, own_process, read_until, start
from tests.experiments.tiny import place, tiny

LONG = ("run", "--model", "sasrec", "--dataset", "tiny", "--set", "epochs=60", "--set", "patience=60",
        "--set", "batch_size=8", "--results")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    place(folder, tiny())
    place(folder, tiny("short", items=6, users=20, length=4))
    return folder


def record_in(results: Path, model: str = "sasrec") -> dict:
    paths = list(results.glob(f"*/*/{model}/*/record.json"))
    assert len(paths) == 1, paths
    return json.loads(paths[0].read_text())


def leftovers(results: Path) -> list[str]:
    return sorted(str(path.relative_to(results)) for path in results.rglob("*")
                  if path.name.startswith(".") or path.name.endswith(".unfinished"))


def test_a_run_writes_the_whole_record_and_says_where(home, tmp_path):
    done = cpbench(home, "run", "--model", "sasrec,climber-pilot", "--seeds", "1,2", "--set", "epochs=3",
                   "--set", "loss=softmax", "--set", "blocks=1", "--results", tmp_path, "--dataset", "tiny", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == "datasets: tiny"
    assert "--set blocks does not apply to climber-pilot" in done.stderr
    assert "[4/4] climber-pilot on tiny" in done.stderr and "epoch 1/3, at most 0:0" in done.stderr
    assert f"table: cpbench report --dataset tiny --results {tmp_path}" in done.stderr
    document = json.loads(done.stdout)
    assert [run["status"] for run in document["runs"]] == ["done"] * 4
    folder = Path(document["runs"][0]["folder"])
    assert folder.parent == tmp_path / "tiny" / "leave-one-out" / "sasrec"
    assert sorted(path.name for path in folder.iterdir()) == ["curve.json", "model", "ranks.parquet", "record.json"]
    record = json.loads((folder / "record.json").read_text())
    assert record == document["runs"][0]["record"]
    assert record["protocol"]["split"] == "leave-one-out" and record["protocol"]["serving_lag"] == 0
    assert record["protocol"]["exclude_seen"] is True
    assert record["config"]["epochs"] == 3 and record["config_sources"]["epochs"] == "--set"
    assert {"model", "dataset", "seed", "recipe", "versions", "commit", "command", "dataset_fingerprint"} <= set(record)
    assert {"fit_seconds", "evaluate_seconds", "epochs", "peak_rss_bytes", "parameters"} <= set(record["cost"])
    assert {"HR@10", "NDCG@10", "MRR"} <= set(record["metrics"]["valid"]) & set(record["metrics"]["test"])
    assert record["cost"]["peak_rss_bytes"] > 50e6
    ranks = pl.read_parquet(folder / "ranks.parquet")
    assert ranks.columns == ["user", "target", "rank"] and len(ranks) == record["notes"]["events"] == 40
    assert (ranks["rank"] <= 10).mean() == pytest.approx(record["metrics"]["test"]["HR@10"])
    assert len(json.loads((folder / "curve.json").read_text())) == 3
    assert leftovers(tmp_path) == []

    again = own_process(home, "run", "--model", "sasrec", "--seeds", "1", "--set", "epochs=3", "--set", "loss=softmax",
                        "--set", "blocks=1", "--results", tmp_path, "--dataset", "tiny", "--quiet", NO_COLOR="1")
    assert again.returncode == 0 and again.stderr == ""
    assert "skipped" in again.stdout and "\x1b" not in again.stdout
    assert json.loads((folder / "record.json").read_text()) == record


def test_killed_at_any_instant_it_ends_in_the_same_numbers(home, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    first = start(home, *LONG, whole)
    read_until(first, "epoch 1/60")
    first.send_signal(signal.SIGSTOP)  # else it may end before a second process is up
    second = start(home, *LONG, whole)  # the same cell
    read_until(second, "another process is at work on this run: waiting for it")
    first.send_signal(signal.SIGCONT)
    _, errors = second.communicate(timeout=60)
    assert first.wait(timeout=60) == 0 and second.returncode == 0
    assert "already done, skipped" in errors

    interrupted = start(home, *LONG, broken)
    read_until(interrupted, "epoch 1/60")
    interrupted.send_signal(signal.SIGINT)
    _, errors = interrupted.communicate(timeout=60)
    assert interrupted.returncode == 130 and "interrupted" in errors and "Traceback" not in errors
    assert not list(broken.rglob("record.json"))

    killed = start(home, *LONG, broken)
    assert "continuing where it was interrupted" in read_until(killed, "/60, at most")
    time.sleep(0.3)
    killed.kill()
    killed.communicate()
    assert not list(broken.rglob("record.json"))

    last = cpbench(home, *LONG, broken)
    assert last.returncode == 0 and "continuing where it was interrupted" in last.stderr
    expected, found = record_in(whole), record_in(broken)
    assert found["metrics"] == expected["metrics"]
    assert found["cost"]["best_epoch"] == expected["cost"]["best_epoch"]
    assert leftovers(broken) == []


def test_a_failed_cell_stops_no_other_and_the_exit_status_tells(home, tmp_path):
    done = cpbench(home, "run", "--model", "sasrec", "--dataset", "short,tiny", "--set", "learning_rate=1e30",
                   "--set", "length=3", "--results", tmp_path, "--json")
    assert done.returncode == 1
    assert [run["status"] for run in json.loads(done.stdout)["runs"]] == ["failed", "failed"]
    assert done.stderr.count("failed: sasrec on ") == 2 and "Traceback" not in done.stderr
    assert "table: cpbench report" not in done.stderr  # there is none
    assert "lower" in done.stderr and "learning" in done.stderr
    assert not list(tmp_path.rglob("record.json")) and leftovers(tmp_path) == []


def test_without_a_dataset_it_takes_what_is_ready_even_a_catalogue_smaller_than_k(tmp_path):
    place(tmp_path, tiny("short", items=6, users=20, length=4))
    done = cpbench(tmp_path, "run", "--model", "sasrec", "--set", "epochs=1", "--include-seen", "--serving-lag", "90m")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("datasets: short (no --dataset was given: every one that is downloaded)\n")
    record = record_in(tmp_path / "results")
    assert record["protocol"]["serving_lag"] == 5400 and record["protocol"]["exclude_seen"] is False
    assert (tmp_path / "results" / "short" / "leave-one-out,lag=5400,seen=kept" / "sasrec").is_dir()
    report = cpbench(tmp_path, "report")
    assert "Left out: HR@10, HR@20, HR@50, NDCG@10: the catalogue has only 6 items." in report.stdout


def test_several_serving_lags_are_several_protocols_of_one_training(home, tmp_path):
    done = cpbench(home, "run", "--model", "sasrec", "--dataset", "tiny", "--set", "epochs=1", "--set", "length=3",
                   "--serving-lag", "1h,0,60m", "--results", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)["runs"]
    assert [run["serving_lag"] for run in runs] == [3600, 0]
    assert [run["record"]["protocol"]["serving_lag"] for run in runs] == [3600, 0]
    assert "lag 3600 s" in done.stderr
    assert runs[0]["record"]["metrics"]["valid"] != runs[1]["record"]["metrics"]["valid"]
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(("arguments", "sentence"), [
    (("--model", "sasrek"), "unknown model 'sasrek'; did you mean 'sasrec'"),
    (("--model", "sasrec", "--dataset", "tinny"), "unknown dataset 'tinny'; did you mean 'tiny'?"),
    (("--model", "sasrec", "--dataset", "ml-1m"), "run `cpbench download ml-1m`"),
    (("--model", "sasrec", "--seed", "1"), "--seeds"),
    (("--model", "sasrec,climber-pilot", "--set", "epocs=3"), "is called 'epocs', did you mean 'epochs'?"),
    (("--model", "sasrec", "--set", "width=0", "--set", "loss=x"),
     "loss = 'x' should be 'bce', 'softmax', 'sampled-softmax' or 'gbce'; width = 0 should be "),
    (("--model", "sasrec", "--serving-lag", "soon"), "'soon' is not a length of time; write 900, 900s, 15m, 1h or 1d"),
    (("--model", "sasrec", "--serving-lag", ","), "--serving-lag names no length of time; 0 is the usual protocol"),
    (("--model", "sasrec", "--dataset", "tiny", "--device", "tpu9"), "device 'tpu9' is not available here"),
])
def test_bad_usage_is_one_sentence_and_status_2(home, tmp_path, arguments, sentence):
    done = cpbench(home, "run", "--results", tmp_path / "results", *arguments)
    assert done.returncode == 2 and done.stdout == ""
    message = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(message) == 1 and sentence in message[0], done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("condition", "sentence"), [
    ("nonsense", "unknown condition 'nonsense'; Known: freshness, genre, popularity"),
    ("gender", "unknown condition 'gender'; did you mean 'genre'?"),
])
def test_a_condition_that_the_data_lack_is_refused_before_hours_of_training(home, tmp_path, condition, sentence):
    done = cpbench(home, "run", "--model", "climber-pilot,ease", "--dataset", "tiny", "--condition", condition,
                   "--results", tmp_path, "--json")
    assert done.returncode == 2 and done.stderr.count(sentence) == 2 and "Traceback" not in done.stderr
    assert "epoch" not in done.stderr and "pre-training" not in done.stderr
    assert [run["status"] for run in json.loads(done.stdout)["runs"]] == ["failed", "failed"]
    assert not list(tmp_path.rglob("record.json")) and leftovers(tmp_path) == []


def test_a_run_with_a_condition_makes_both_runs_and_both_are_reported(home, tmp_path):
    arguments = ("run", "--model", "climber-pilot,ease", "--dataset", "tiny", "--condition", "genre", "--set",
                 "epochs=1", "--set", "sft.epochs=1", "--set", "sft.method=lum", "--results", tmp_path)
    done = cpbench(home, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert "first, without the condition: climber-pilot on tiny" in done.stderr
    assert "fine-tuning on condition genre" in done.stderr
    assert "--set sft.method does not apply to ease" in done.stderr
    records = [run["record"] for run in json.loads(done.stdout)["runs"]]
    assert [record["obeys"] for record in records] == ["model", "hard-filter"]
    assert records[0]["config"]["sft.method"] == "lum"
    assert len(list(tmp_path.glob("tiny/leave-one-out/*/*/record.json"))) == 2
    assert len(list(tmp_path.glob("tiny/leave-one-out,condition=genre/*/*/record.json"))) == 2
    again = cpbench(home, *arguments)
    assert again.returncode == 0 and "epoch 1/1" not in again.stderr
    report = cpbench(home, "report", "--results", tmp_path)
    assert report.returncode == 0 and "given the genre of the true next item" in report.stdout
    assert "CC@10" in report.stdout


def test_settings_of_the_second_stage_need_a_condition(home, tmp_path):
    done = cpbench(home, "run", "--model", "climber-pilot", "--dataset", "tiny", "--set", "sft.epochs=1",
                   "--results", tmp_path)
    assert done.returncode == 2 and "--set sft.epochs belongs to the stage" in done.stderr


def test_settings_that_contradict_each_other_are_bad_usage(home, tmp_path):
    done = cpbench(home, "run", "--model", "sasrec", "--dataset", "tiny", "--set", "heads=3", "--results", tmp_path)
    assert done.returncode == 2
    assert "width 64 is not a multiple of heads 3" in done.stderr


def test_a_results_folder_that_cannot_be_written_is_noticed_before_training(home, tmp_path):
    (tmp_path / "results").write_text("in the way")
    done = cpbench(home, "run", "--model", "sasrec", "--dataset", "tiny", "--results", tmp_path / "results")
    assert done.returncode == 2
    assert "the results folder" in done.stderr and "choose another with --results DIR" in done.stderr
    assert "epoch" not in done.stderr


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(home, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", full], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk; tests/experiments/test_record.py has the unit test")
    try:
        done = cpbench(home, "run", "--model", "sasrec", "--dataset", "tiny", "--set", "epochs=1", "--results", full)
        assert done.returncode == 1
        assert "No space left on device" in done.stderr and "Traceback" not in done.stderr
        assert not list(full.rglob("record.json")) and leftovers(full) == []
    finally:
        subprocess.run(["umount", full], check=True)


def test_a_terminal_sees_a_live_line(home, tmp_path):
    text = "\n".join(on_a_terminal(home, 200, "run", "--model", "sasrec", "--dataset", "tiny", "--set", "epochs=8",
                                   "--results", tmp_path, of="stderr"))
    assert "[1/1] sasrec on tiny" in text and re.search(r"epoch \d/8, at most 0:0\d left, loss \d", text)


PLUGIN = '''
"""A model in somebody else's package."""
import torch
from cpbench.models.base import ModelConfig, Recommender


class Config(ModelConfig):
    boost: float = 1.0


class Loudest(Recommender):
    name = "loudest"
    Config = Config

    def fit(self, split, seed):
        self.counts = torch.from_numpy(split.train_counts).float() * self.config.boost

    def score(self, histories):
        return self.counts.expand(len(histories), -1)

    def tensors(self):
        return {"counts": self.counts}

    def load_tensors(self, tensors):
        self.counts = tensors["counts"]
'''


def test_a_model_of_another_package_runs_like_our_own(home, tmp_path):
    site = tmp_path / "site"
    metadata = site / "loud-0.1.dist-info"
    metadata.mkdir(parents=True)
    (site / "loud.py").write_text(PLUGIN)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text("[cpbench.models]\nloudest = loud:Loudest\n")
    done = own_process(home, "run", "--model", "loudest", "--dataset", "tiny", "--set", "boost=2.5", "--results",
                       tmp_path, "--seeds", "3", PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr
    record = record_in(tmp_path, "loudest")
    assert record["config"] == {"boost": 2.5} and record["seed"] == 3 and record["recipe"] == "defaults"
    assert record["cost"]["epochs"] == 0 and record["cost"]["parameters"] == 30


