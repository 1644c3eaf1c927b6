"""The sentences that belong under a table: whatever changes a number, and what its figures rest on."""

from typing import TYPE_CHECKING

from cpbench.data.protocol import Protocol

if TYPE_CHECKING:
    from cpbench.report.tables import ComparisonTable


def protocol_text(protocol: Protocol) -> str:
    """The protocol in words: everything that changes a number."""
    parts: list[str] = [protocol.split]
    if protocol.split == "temporal":
        parts.append(f"cuts at the last {protocol.holdout:.0%} and {2 * protocol.holdout:.0%}, "
                     f"first {protocol.targets_per_user} per user")
    if protocol.condition is not None:
        parts.append(f"given the {protocol.condition} of the true next item")
    if protocol.horizon > 1:
        parts.append(f"lists made {protocol.horizon} interactions before the end")
    parts.append("seen items excluded" if protocol.exclude_seen else "seen items kept in the ranking")
    parts.append(f"serving lag {protocol.serving_lag:,} s" if protocol.serving_lag else "no serving lag")
    return ", ".join(parts)


def caption(table: "ComparisonTable") -> list[str]:
    """Sentences that belong under a table."""
    counts, notes = table.counts, table.notes
    lines = [f"Protocol: {protocol_text(table.protocol)}; the whole catalogue is ranked.",
             f"Data: {counts.get('users', 0):,} users, {counts.get('items', 0):,} items, "
             f"{counts.get('interactions', 0):,} interactions; fingerprint {table.fingerprint}.",
             *filter(None, [_unofficial(table), _seeds(table)]), *_statistics(table)]
    facts = []
    if "events" in notes:
        facts.append(f"{notes['events']:,.0f} test events")
    if notes.get("empty_history_share"):
        facts.append(f"{notes['empty_history_share']:.1%} of them without any visible history")
    if notes.get("target_seen_before_share"):
        missed = ", which are misses here" if table.protocol.exclude_seen else ""
        facts.append(f"{notes['target_seen_before_share']:.1%} with a target seen before{missed}")
    if notes.get("targets_unseen_in_training"):
        facts.append(f"{notes['targets_unseen_in_training']:,.0f} with a target unseen in training")
    if facts:
        lines.append(f"{', '.join(facts)}.")
    beams = sorted({f"{row.model} (beam of {row.beam})" for row in table.rows if row.beam is not None})
    if beams:
        lines.append(f"Ranked by the lists they generate; a target outside the list is a miss: {', '.join(beams)}.")
    late = [row.label for row in table.rows if any(run.record.stopped_by for run in row.runs)]
    if late:
        lines.append(f"Trained until the clock ended it (max_minutes); another machine gets other numbers: "
                     f"{', '.join(late)}.")
    if table.meaningless:
        lines.append(f"Left out: {', '.join(table.meaningless)}: the catalogue has only {counts.get('items', 0)} "
                     "items.")
    notes_on = {entry.model: entry for row in table.rows for entry in row.undertuned}
    lines += [f"Published, but no reference: {model}, HR@10 {entry.metrics['HR@10']:.4f} in "
              f"{entry.source.partition(';')[0]}: {entry.undertuned}." for model, entry in notes_on.items()]
    if table.ceiling:
        lines.append("Ceiling: what the best possible ranking attains on these events; only a simulation knows it.")
    return lines


def footnotes(table: "ComparisonTable") -> list[str]:
    """The caption, and the sources of what was published by number."""
    return [*caption(table), *(f"[{number}] {source}." for number, source in enumerate(table.sources, start=1))]


def _statistics(table: "ComparisonTable") -> list[str]:
    lines = []
    several = any(len(row.seeds) > 1 for row in table.rows)
    if any(estimate.interval for row in table.rows for estimate in row.metrics.values()):
        drawn = "users drawn again"
        if several:
            alone = any(len(row.seeds) == 1 and not row.deterministic for row in table.rows)
            drawn = f"users and seeds drawn again together{'; of a single run, users alone' * alone}"
        lines.append(f"[a, b]: 95 % bootstrap interval of the mean, {drawn}.")
    unsure = [row.label for row in table.rows if not any(estimate.interval for estimate in row.metrics.values())]
    if unsure and len(unsure) < len(table.rows):
        lines.append(f"No usable ranks, hence neither interval nor comparison: {', '.join(unsure)}.")
    compared = [row for row in table.rows if row.differences]
    if compared:
        rows = max(sum(name in row.differences for row in compared) for name in compared[0].differences)
        best = f"the best row{' with ranks' * bool(unsure)} was chosen by these events"
        family = (f"{rows} row{'s' * (rows > 1)}" if table.reference_is_named or rows == 1 else
                  f"all {rows * (rows + 1) // 2} pairs of rows, as {best}")
        lines.append(f"Differences are to {table.reference}: paired t test over users{' and seeds' * several}; [a, b] "
                     f"and ± are of that one comparison, p is Holm-corrected over {family}. † significant (p < .05); ≈ "
                     "not significant: a difference larger than the figure after ± can be ruled out (two one-sided "
                     "tests at 5 %). d: Cohen's, of the differences between users.")
    single = [row.label for row in compared if not all(each.covers_seeds for each in row.differences.values())]
    if single:
        everything = "Every comparison" if len(single) == len(compared) else f"The comparison of {', '.join(single)}"
        lines.append(f"{everything} rests on a single run of a model that another seed may change, hence the brackets "
                     "around its mark: its test counts users only, and proves less than it seems.")
    return lines


def _unofficial(table: "ComparisonTable") -> str:
    return (f"Not made from the official files: {', '.join(table.unofficial)} had another checksum; users, items and "
            "interactions are as many, times and attributes may differ." if table.unofficial else "")


def _seeds(table: "ComparisonTable") -> str:
    fixed = [row.model for row in table.rows if row.deterministic]
    sizes = {len(row.seeds) for row in table.rows if not row.deterministic}
    lines = []
    if sizes == {1}:
        lines.append("Single run of each model: without a spread over seeds, small differences mean nothing.")
    elif sizes:
        several = sizes - {1}
        what = f"{min(several)} seeds" if len(several) == 1 else f"{min(several)} to {max(several)} seeds"
        lines.append(f"Mean ± standard deviation over {what}.")
        if 1 in sizes:
            lines.append("Rows without ± are single runs.")
    if fixed:
        lines.append(f"Deterministic, so that one run is enough: {', '.join(dict.fromkeys(fixed))}.")
    return " ".join(lines)
