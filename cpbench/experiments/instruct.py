"""A run with a condition: the same run without one, then the stage that learns to obey; all ways are measured."""

from collections.abc import Sequence
from pathlib import Path

import torch

from cpbench.data.protocol import Split
from cpbench.evaluation.conditional import How, with_conditions
from cpbench.evaluation.evaluate import Evaluation, evaluate
from cpbench.experiments import environment
from cpbench.experiments.plan import Cell
from cpbench.experiments.recipes import GIVEN
from cpbench.experiments.record import load_record, write_run
from cpbench.experiments.watcher import Watcher
from cpbench.models.base import NeuralRecommender, Recommender
from cpbench.models.conditions import Conditions, facts_with_conditions, require_condition
from cpbench.report.record import Cost, Metrics, RunRecord, Stage
from cpbench.training.loop import TrainingResult, seed_everything, train


def instruct_and_record(cell: Cell, part: Split, folder: Path, state: Path, started: str, watcher: Watcher,
                        device: torch.device, base_folder: Path) -> RunRecord:
    """Fine-tune the model of the run in `base_folder` and record it; a model without such a stage is filtered."""
    assert cell.protocol.condition is not None
    base = load_record(base_folder)
    pretrained = cell.model_class.load(base_folder / "model")
    if isinstance(pretrained, NeuralRecommender):
        pretrained.to(device)

    environment.forget_peak_memory()
    facts = facts_with_conditions(part)
    require_condition(cell.protocol.condition, facts)
    conditions = Conditions(facts, cell.protocol.condition)
    valid_events, valid_given = with_conditions(part, part.valid, conditions)
    test_events, test_given = with_conditions(part, part.test, conditions)
    second = cell.settings.second
    obeys: How = "hard-filter" if second is None else "model"
    found: dict[str, Evaluation] = {}

    def measure(model: Recommender, hows: Sequence[How]) -> dict[str, dict[str, float | None]]:
        for how in hows:
            found[how] = evaluate(model, part, test_events, given=test_given.obeyed(how))
        return {how: dict(found[how].metrics) for how in hows}

    stages = [Stage(name="pre-training", run=str(base_folder.relative_to(folder.parents[3])),
                    saw="the training interactions",
                    metrics=measure(pretrained, ("none", "post-filter", "hard-filter")),
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
                                              given=valid_given.obeyed("model")).metrics)
        stages.append(Stage(name="fine-tuning", saw="the same interactions, which pre-training saw",
                            metrics=measure(tuned, ("none", "model", "model+filter")),
                            fit_seconds=result.fit_seconds, epochs=result.epochs))
        model = tuned
    valid = evaluate(model, part, valid_events, only_accuracy=True, given=valid_given.obeyed(obeys))
    test = found[obeys]
    record = RunRecord(
        model=cell.model_name,
        dataset=cell.dataset,
        protocol=cell.protocol,
        seed=cell.seed,
        recipe=cell.settings.recipe,
        config=cell.settings.config,
        config_sources=cell.settings.all_sources,
        information=list(dict.fromkeys([*model.information, "condition"])),
        metrics=Metrics(valid=valid.metrics, test=test.metrics),
        obeys=obeys,
        stages=stages,
        notes=test.notes | {"events_without_condition": len(part.test) - len(test_events)},
        cost=Cost(fit_seconds=result.fit_seconds + base.cost.fit_seconds, evaluate_seconds=test.seconds,
                  epochs=result.epochs, best_epoch=result.best_epoch, peak_rss_bytes=environment.peak_memory(),
                  parameters=model.n_parameters),
        dataset_fingerprint=part.dataset.fingerprint,
        dataset_counts=part.dataset.counts(),
        started=started,
        **environment.circumstances(device),
    )
    write_run(folder, record, test_events, test.ranks, result.curve, model)
    return record
