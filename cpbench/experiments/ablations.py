"""The paper's claims as grids of runs: which variants, under which protocols, compared with which."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cpbench.data import catalogue
from cpbench.data.dataset import Dataset, usual_attribute
from cpbench.data.protocol import Protocol, split
from cpbench.errors import UsageError, unknown
from cpbench.experiments.plan import Cell, plan
from cpbench.models.conditions import facts_with_conditions, require_condition
from cpbench.report.ablation import GROWTH, WINDOWS
from cpbench.report.stored_ablation import ABLATED

SHORT, LONG = (0, 60, 450, 900, 1800), (0, 43_200, 86_400, 259_200, 604_800)
STEPS = 10


@dataclass(frozen=True)
class Variant:
    """One row of the table: its label and the settings that make it."""

    label: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Ablation:
    name: str
    claim: str
    """What the paper says, in one sentence."""
    reference: str
    """The label of the variant that all others are compared with."""
    metrics: tuple[str, ...]
    paper: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """The paper's figures by label and metric (industrial data)."""
    source: str = ""
    horizon: int = 1
    conditional: bool = False

    def variants(self, dataset: Dataset) -> list[Variant]:
        """The rows on this dataset."""
        return VARIANTS[self.name](dataset)

    @property
    def measured(self) -> tuple[str, ...]:
        """`metrics`, and what the figure needs beside them."""
        steps = tuple(f"HR@10/step {step}" for step in range(1, self.horizon + 1)) if self.horizon > 1 else ()
        return tuple(dict.fromkeys((*self.metrics, *steps)))


def _tamip(dataset: Dataset) -> list[Variant]:
    window = same_day_or_minutes(dataset)
    return [Variant("NIP", {"mode": "nip"}), Variant("MIP", {"mode": "mip"}),
            Variant("TAMIP", {"mode": "tamip", "window": window}),
            Variant("TAMIP, exact cut-off", {"mode": "tamip", "window": window, "cutoff": "exact"})]


def _window(dataset: Dataset) -> list[Variant]:
    windows = LONG if by_days(dataset) else SHORT
    return [Variant(WINDOWS[window], {"mode": "tamip", "window": window}) for window in windows]


def _branches(dataset: Dataset) -> list[Variant]:
    return [Variant(f"K = {k}", {"mode": "tamip", "window": same_day_or_minutes(dataset), "branches": k})
            for k in (1, 2, 3, 4)]


def _cgsa(dataset: Dataset) -> list[Variant]:
    return [Variant(label, {"sft.method": method}) for label, method in
            (("CGSA", "cgsa"), ("AdaLN-Zero", "adaln-zero"), ("PinRec", "pinrec"), ("LUM", "lum"),
             ("fine-tuned without it", "none"))]


def _instructions(dataset: Dataset) -> list[Variant]:
    return [Variant("CGSA", {"sft.method": "cgsa"})]


VARIANTS = {"tamip": _tamip, "window": _window, "branches": _branches, "cgsa": _cgsa, "instructions": _instructions}

PAPER = "Climber-Pilot (KDD 2026), industrial data"
ABLATIONS = {ablation.name: ablation for ablation in (
    Ablation("tamip", "Trained on several future items with recent history masked, the list holds up further ahead.",
             "NIP", tuple(f"HR@{k}/step {step}" for k in (10, 50) for step in ("1", "5", "10", f"10{GROWTH}step 1")),
             {"NIP": {"HR@10/step 1": .038, "HR@10/step 10": .014, "HR@50/step 1": .0985, "HR@50/step 10": .052},
              "MIP": {"HR@10/step 1": .0386, "HR@10/step 10": .0255, "HR@50/step 1": .1016, "HR@50/step 10": .0715},
              "TAMIP": {"HR@10/step 1": .0402, "HR@10/step 10": .038, "HR@50/step 1": .1095, "HR@50/step 10": .1035}},
             f"{PAPER}, figure 3, read off the plot", horizon=STEPS),
    Ablation("window", "A window of one request interval is best; none and a longer one are worse.",
             WINDOWS[0], ("HR@10", "HR@20", "HR@50"),
             {WINDOWS[0]: {"HR@10": .0386, "HR@20": .0603, "HR@50": .1016},
              WINDOWS[450]: {"HR@10": .0391, "HR@20": .0607, "HR@50": .1011},
              WINDOWS[900]: {"HR@10": .0402, "HR@20": .0640, "HR@50": .1095},
              WINDOWS[1800]: {"HR@10": .0386, "HR@20": .0594, "HR@50": .0989}},
             f"{PAPER}, table 3"),
    Ablation("branches", "Two branches; the paper does not vary their number.", "K = 1", ("HR@10", "HR@20", "HR@50")),
    Ablation("cgsa", "Attention restricted to matching history retrieves more of the right items than other ways.",
             "not instructed", ("HR@10", "HR@20", "HR@50", "CC@10", "CC@20", "CC@50"),
             {"CGSA": {"HR@50": .1853, "HR@20": .1169, "HR@10": .0773, "CC@50": .7858, "CC@20": .8007, "CC@10": .8175},
              "AdaLN-Zero": {"HR@50": .1584, "HR@20": .1027, "HR@10": .0688,
                             "CC@50": .7549, "CC@20": .8041, "CC@10": .8096},
              "PinRec": {"HR@50": .1382, "HR@20": .0916, "HR@10": .0629,
                         "CC@50": .8169, "CC@20": .8430, "CC@10": .8557},
              "LUM": {"HR@50": .1145, "HR@20": .0751, "HR@10": .0524, "CC@50": .6897, "CC@20": .7451, "CC@10": .7784}},
             f"{PAPER}, table 4", conditional=True),
    Ablation("instructions", "Lists made from a user's frequent categories are more diverse, most for active users.",
             "no instruction", ("HR@10", "HR@50", "diversity@10", "diversity@10/low", "diversity@10/middle",
                                "diversity@10/high"),
             source=f"{PAPER}, table 6: online, genre diversity +.28, +1.87, +2.56 % for low, middle, high activity",
             conditional=True),
)}


def _chosen(ablation: Ablation, variants: list[Variant], only: Sequence[str]) -> list[Variant]:
    known = {variant.label.lower(): variant.label for variant in variants}
    for label in only:
        if label.lower() not in known:
            raise unknown(f"variant of {ablation.name}", label, known.values())
    kept = {known[label.lower()] for label in only} | {ablation.reference}
    return [variant for variant in variants if variant.label in kept] if only else variants


def by_days(dataset: Dataset) -> bool:
    """Whether times are whole days."""
    return bool((dataset.times % 86_400 == 0).all())


def same_day_or_minutes(dataset: Dataset) -> int:
    """The paper's window, 15 minutes; on whole days that hides the same day."""
    return 43_200 if by_days(dataset) else 900


def default_condition(dataset: Dataset) -> str:
    """The usual attribute. Raises UsageError when there is none."""
    name = usual_attribute(dataset.attribute_names)
    if name is None:
        raise UsageError(f"dataset {dataset.name!r} has no item attribute that could be a condition")
    return name


def cells(ablation: Ablation, dataset_name: str, seeds: Sequence[int], recipe: str, overrides: Mapping[str, Any],
          serving_lags: Sequence[int], condition: str | None, only: Sequence[str] = ()) -> list[tuple[Variant, Cell]]:
    """Every run of the grid, those that differ in the lag alone side by side (they are trained once).

    Settings given by hand win over the recipe, a variant's own over both. `only` names variants by label; the one that
    all are compared with stays. Raises UsageError, also for a setting that the ablation itself varies.
    """
    dataset = catalogue.load(dataset_name)
    variants = _chosen(ablation, ablation.variants(dataset), only)
    varied = sorted({key for variant in variants for key in variant.settings} & set(overrides))
    if varied:
        raise UsageError(f"--set {', '.join(varied)}: the ablation {ablation.name!r} varies it itself")
    if ablation.conditional:
        condition = condition or default_condition(dataset)
        require_condition(condition, facts_with_conditions(split(dataset, Protocol())))
    elif condition is not None:
        raise UsageError(f"the ablation {ablation.name!r} takes no --condition")
    return [(variant, cell) for variant in variants
            for cell in plan([ABLATED], [dataset_name], seeds, recipe, {**overrides, **variant.settings},
                             serving_lags=serving_lags, condition=condition, horizon=ablation.horizon)]
