"""What a run tells whoever watches it without a terminal."""

from types import SimpleNamespace

import pytest

from cpbench.cli.console import Output
from cpbench.cli.live import LiveWatcher
from cpbench.experiments.plan import plan
from cpbench.training.loop import SELECTION_METRIC, EpochReport


def report(epoch: int, valid: float | None, best_epoch: int) -> EpochReport:
    return EpochReport(epoch, 9, 5.0, {}, None if valid is None else {SELECTION_METRIC: valid}, 1.0, best_epoch)


def test_lines_now_and_then_still_tell_the_last_validation(capsys: pytest.CaptureFixture[str],
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 100.0, 101.0, 102.0, 113.0, 113.0])  # one look an epoch, another where a line is printed
    monkeypatch.setattr("cpbench.cli.live.time", SimpleNamespace(monotonic=lambda: next(times)))
    output = Output()
    with output.progress() as progress:
        watcher = LiveWatcher(output, progress, 2)
        for told in (report(1, None, 0), report(2, 0.25, 2), report(3, 0.125, 2), report(4, None, 2)):
            watcher.epoch(told)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0].strip() for line in lines] == ["epoch 1/9", "epoch 4/9"]
    assert "valid" not in lines[0]
    assert lines[1].endswith("valid NDCG@10 0.1250 in 3 (best 0.2500 in 2)")


def test_the_next_run_begins_without_the_validation_of_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    (cell,) = plan(["popularity"], ["streaming"], [1], "tuned")
    with output.progress() as progress:
        watcher = LiveWatcher(output, progress, 2)
        watcher.epoch(report(2, 0.25, 2))
        watcher.begin(cell.label)
        watcher.epoch(report(1, None, 0))
    assert "valid" not in capsys.readouterr().err.splitlines()[-1]


def test_a_resumed_run_does_not_call_its_first_validation_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    with output.progress() as progress:
        LiveWatcher(output, progress, 1).epoch(report(6, 0.125, 4))
    assert capsys.readouterr().err.strip().endswith("valid NDCG@10 0.1250 in 6 (best in 4)")
