from pathlib import Path

import pytest

from cpbench.data.protocol import Protocol
from cpbench.errors import UsageError
from cpbench.experiments.plan import (
    default_datasets,
    explain,
    parse_lag,
    parse_seeds,
    plan,
    untuned,
    why_default,
)
from cpbench.report.place import protocol_name, run_folder
from tests.experiments.tiny import place, tiny


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CPBENCH_HOME", str(tmp_path))
    place(tmp_path, tiny())
    return tmp_path


@pytest.mark.parametrize(("text", "seconds"), [
    ("0", 0), ("900", 900), ("900s", 900), ("15m", 900), ("15 min", 900), ("1h", 3600), ("1d", 86400), ("1D", 86400),
])
def test_lags(text, seconds):
    assert parse_lag(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "1.5h", "15x", "m", "1h30m"])
def test_wrong_lags(text):
    with pytest.raises(UsageError, match="is not a length of time; write 900, 900s, 15m, 1h or 1d"):
        parse_lag(text)


@pytest.mark.parametrize("text", ["9999999d", "99999999999999999999d"])
def test_a_lag_of_ages(text):
    with pytest.raises(UsageError, match="is more than a hundred years"):
        parse_lag(text)


def test_seeds():
    assert parse_seeds("1, 2,2,3") == [1, 2, 3]
    for wrong in ("", "a", "1,-2", "1.5", "9" * 30):
        with pytest.raises(UsageError, match="is not a list of whole numbers"):
            parse_seeds(wrong)


def test_the_folder_says_how_the_protocol_differs_from_the_plain_one():
    assert protocol_name(Protocol()) == "leave-one-out"
    assert protocol_name(Protocol(serving_lag=900)) == "leave-one-out,lag=900"
    assert protocol_name(Protocol(split="temporal", exclude_seen=False, targets_per_user=3, holdout=0.2)) == (
        "temporal,seen=kept,targets=3,holdout=0.2")


def test_conditions_whose_names_look_alike_have_folders_of_their_own():
    names = {protocol_name(Protocol(condition=text)) for text in ("a b", "a/b", "a_b", "genre")}
    assert len(names) == 4 and {"leave-one-out,condition=genre", "leave-one-out,condition=a_b"} < names


def test_no_name_leaves_the_results_folder():
    folder = run_folder(Path("results"), "../../etc", Protocol(), "a/b", "tuned-seed1")
    assert ".." not in folder.parts and len(folder.parts) == 5


def test_cells_are_all_combinations_and_settings_go_to_those_that_have_them():
    cells = plan(["sasrec", "climber-pilot"], ["tiny"], [1, 2], overrides={"blocks": 1, "epochs": 2})
    assert [(cell.model_name, cell.seed) for cell in cells] == [
        ("sasrec", 1), ("sasrec", 2), ("climber-pilot", 1), ("climber-pilot", 2)]
    assert cells[0].settings.overrides == {"blocks": 1, "epochs": 2}
    assert cells[2].settings.overrides == {"epochs": 2}
    assert "--set blocks does not apply to climber-pilot" in explain(cells, "tuned", {"blocks": 1, "epochs": 2})
    (line,) = untuned(cells)
    assert line.startswith("nobody has tuned the recipes for tiny: these are the general ones")
    assert untuned(plan(["sasrec"], ["streaming"], [1])) == []
    assert cells[0].protocol.exclude_seen and not plan(["sasrec"], ["streaming"], [1])[0].protocol.exclude_seen
    assert not plan(["sasrec"], ["tiny"], [1], exclude_seen=False)[0].protocol.exclude_seen


def test_runs_with_other_settings_have_other_folders():
    plain, one, other = (plan(["sasrec"], ["tiny"], [7], overrides=overrides)[0]
                         for overrides in ({}, {"width": 32}, {"width": 16}))
    assert plain.run_name.endswith("-seed7") and one.run_name.startswith(plain.run_name + "-")
    assert len({plain.run_name, one.run_name, other.run_name}) == 3


def test_an_older_record_may_lack_what_is_at_its_default_whoever_set_it():
    (cell,) = plan(["sasrec"], ["tiny"], [1], overrides={"length_groups": 0, "width": 32})
    older = {key: value for key, value in cell.settings.config.items() if key not in ("length_groups", "request_time")}
    assert cell.has_settings(older)
    del older["width"]
    assert not cell.has_settings(older)


def test_what_is_asked_for_must_exist():
    for arguments, sentence in (
        ((["sasrec"], ["tinny"], [1]), "unknown dataset 'tinny'; did you mean 'tiny'"),
        ((["sasrec"], ["ml-1m"], [1]), "is not prepared yet: run `cpbench download ml-1m`"),
        ((["sasrex"], ["tiny"], [1]), "unknown model 'sasrex'; did you mean 'sasrec'"),
        (([], ["tiny"], [1]), "no model was named"),
        ((["sasrec"], [], [1]), "no dataset was named"),
        ((["sasrec"], ["tiny"], [1], "tund"), "unknown recipe 'tund'; did you mean 'tuned'"),
        ((["sasrec"], ["tiny"], [1], "tuned", {"widht": 3}), "is called 'widht', did you mean 'width'"),
        ((["sasrec"], ["tiny"], [1], "tuned", {}, "leave-one"), "unknown split 'leave-one'; did you mean"),
    ):
        with pytest.raises(UsageError) as caught:
            plan(*arguments)
        assert sentence in str(caught.value)


def test_without_a_dataset(home, tmp_path_factory, monkeypatch):
    assert default_datasets() == ["tiny"] and "every one that is downloaded" in why_default(["tiny"])
    monkeypatch.setenv("CPBENCH_HOME", str(tmp_path_factory.mktemp("empty")))
    assert default_datasets() == ["streaming"] and "none is downloaded yet" in why_default(["streaming"])


def test_a_condition_and_a_horizon_stand_in_the_folder_s_name():
    assert protocol_name(Protocol(condition="genre")) == "leave-one-out,condition=genre"
    assert protocol_name(Protocol(horizon=10, exclude_seen=False)) == "leave-one-out,seen=kept,horizon=10"
    cell = plan(["climber-pilot"], ["tiny"], [1], condition="genre", overrides={"width": 16, "sft.epochs": 2})[0]
    assert cell.protocol.condition == "genre" and cell.settings.second is not None
    assert cell.pretraining().folder(Path("r")) == plan(
        ["climber-pilot"], ["tiny"], [1], overrides={"width": 16})[0].folder(Path("r"))
    assert cell.run_name != cell.pretraining().run_name


def test_a_horizon_needs_leave_one_out():
    assert plan(["sasrec"], ["tiny"], [1], horizon=3)[0].protocol.horizon == 3
    with pytest.raises(UsageError, match=r"^horizon: only leave-one-out knows one$"):
        plan(["sasrec"], ["tiny"], [1], split="temporal", horizon=3)
    with pytest.raises(UsageError, match=r"^horizon = 0: Input should be greater than or equal to 1$"):
        plan(["sasrec"], ["tiny"], [1], horizon=0)


def test_settings_of_the_second_stage_need_a_condition():
    with pytest.raises(UsageError, match=r"--set sft\.epochs, sft\.method belongs to .*: give --condition"):
        plan(["climber-pilot"], ["tiny"], [1], overrides={"sft.method": "cgsa", "sft.epochs": 3})
    with pytest.raises(UsageError, match=r"is called 'sft\.metod', did you mean 'sft\.method'"):
        plan(["climber-pilot"], ["tiny"], [1], overrides={"sft.metod": "cgsa"}, condition="genre")
    for given in ("sft.pilot", "sft.condition"):  # the run itself gives them
        with pytest.raises(UsageError, match=f"is called '{given}'"):
            plan(["climber-pilot"], ["tiny"], [1], overrides={given: "genre"}, condition="genre")
    with pytest.raises(UsageError, match=r"no setting of sasrec is called 'sft\.method'"):
        plan(["sasrec"], ["tiny"], [1], overrides={"sft.method": "cgsa"}, condition="genre")
    cells = plan(["sasrec", "climber-pilot"], ["tiny"], [1], overrides={"sft.method": "lum"}, condition="genre")
    assert cells[0].settings.second is None and cells[0].settings.overrides == {}
    assert cells[1].settings.config["sft.method"] == "lum" and cells[1].settings.overrides == {"sft.method": "lum"}
