"""A run with a condition: the same run without one, then the stage that learns to obey; all ways are measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from cpbench.data.protocol import Events, Split
from cpbench.evaluation.conditional import Given, How, with_conditions
from cpbench.evaluation.evaluate import Evaluation, evaluate
from cpbench.experiments import environment
from cpbench.experiments.plan import Cell
from cpbench.experiments.recipes import GIVEN
from cpbench.experiments.record import about_cell, write_run
from cpbench.experiments.watcher import Watcher
from cpbench.models.base import Facts, NeuralRecommender, Recommender
from cpbench.models.conditions import Conditions, facts_with_conditions, require_condition
from cpbench.report.record import Cost, Metrics, RunRecord, Stage, load_record
from cpbench.training.loop import TrainingResult, seed_everything, train

PRETRAINING, FINE_TUNING = "pre-training", "fine-tuning"


class Question(NamedTuple):
    """What is asked at the events of a run with a condition."""

    facts: Facts
    valid: tuple[Events, Given]
    test: tuple[Events, Given]


def pose(part: Split) -> Question:
    """Made before pre-training: raises UsageError for a condition that these data cannot answer."""
    assert part.protocol.condition is not None
    facts = facts_with_conditions(part)
    require_condition(part.protocol.condition, facts)
    conditions = Conditions(facts, part.protocol.condition)
    return Question(facts, with_conditions(part, part.valid, conditions), with_conditions(part, part.test, conditions))


def instruct_and_record(cell: Cell, part: Split, folder: Path, state: Path, started: str, watcher: Watcher,
                        device: torch.device, base_folder: Path, question: Question) -> RunRecord:
    """Fine-tune the model of the run in `base_folder` and record it; a model without such a stage is filtered."""
    assert cell.protocol.condition is not None
    base = load_record(base_folder)
    pretrained = cell.model_class.load(base_folder / "model")
    if isinstance(pretrained, NeuralRecommender):
        pretrained.to(device)

    environment.forget_peak_memory()
    facts, (valid_events, valid_given), (test_events, test_given) = question
    second = cell.settings.second
    obeys: How = "hard-filter" if second is None else "model"
    found: dict[str, Evaluation] = {}

    def measure(stage: str, model: Recommender, hows: Sequence[How]) -> dict[str, dict[str, float | None]]:
        for how in hows:
            found[f"{stage}: {how}"] = evaluate(model, part, test_events, given=test_given.obeyed(how))
        return {how: dict(found[f"{stage}: {how}"].metrics) for how in hows}

    stages = [Stage(name=PRETRAINING, run=str(base_folder.relative_to(folder.parents[3])),
                    saw="the training interactions",
                    metrics=measure(PRETRAINING, pretrained, ("none", "post-filter", "hard-filter")),
                    fit_seconds=base.cost.fit_seconds, epochs=base.cost.epochs)]
    model, result = pretrained, TrainingResult([], 0, 0, 0.0)
    if second is not None and second.training is not None:
        stage_class = cell.model_class.instructed()
        assert stage_class is not None
        seed_everything(cell.seed, 0)
        tuned = stage_class.build(second.model.model_dump(exclude=set(GIVEN)), pretrained, cell.protocol.condition,
                                  facts)
        watcher.say(f"fine-tuning on condition {cell.protocol.condition}")
        result = train(tuned, part, second.training, cell.seed, state, watcher.epoch, str(device),
                       lambda model: evaluate(model, part, valid_events, only_accuracy=True,
                                              given=valid_given.obeyed("model")).metrics, say=watcher.say)
        stages.append(Stage(name=FINE_TUNING, saw="the same interactions, which pre-training saw",
                            metrics=measure(FINE_TUNING, tuned, ("none", "model", "model+filter")),
                            fit_seconds=result.fit_seconds, epochs=result.epochs))
        model = tuned
    valid = evaluate(model, part, valid_events, only_accuracy=True, given=valid_given.obeyed(obeys))
    test = found[f"{FINE_TUNING if second is not None else PRETRAINING}: {obeys}"]
    record = RunRecord(
        **about_cell(cell, part, started, device),
        information=list(dict.fromkeys([*model.information, "condition",
                                        *(["request time"] if test_given.conditions.by_age else [])])),
        metrics=Metrics(valid=valid.metrics, test=test.metrics),
        selected_by=result.selected_by or base.selected_by,
        precision=result.precision or base.precision,
        stopped_by="max_minutes" if result.out_of_time else base.stopped_by,
        obeys=obeys,
        stages=stages,
        notes=test.notes | {"events_without_condition": len(part.test) - len(test_events)},
        cost=Cost(fit_seconds=result.fit_seconds + base.cost.fit_seconds, evaluate_seconds=test.seconds,
                  epochs=result.epochs, best_epoch=result.best_epoch, peak_rss_bytes=environment.peak_memory(),
                  parameters=model.n_parameters),
    )
    return write_run(folder, record, test_events, test.all_ranks, result.curve, model,
                     {f"rank, {name}": each.ranks for name, each in found.items()})
