"""The web page: what it says, that it loads nothing, and that text from records stays text."""

import json
import re
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from urllib.parse import unquote

import matplotlib
import pytest

from cpbench.data.describe import describe, in_words
from cpbench.data.protocol import Protocol
from cpbench.errors import CpbenchError
from cpbench.report.caption import caption
from cpbench.report.figures.style import CONTRAST, Drawn
from cpbench.report.page import html
from cpbench.report.page_runs import IN_FULL, Ids
from cpbench.report.record import RunRecord
from cpbench.report.significance import mark, with_statistics
from cpbench.report.stored_ablation import StoredAblation, stored_ablations
from cpbench.report.tables import ComparisonTable, comparison_tables
from tests.data.test_describe import made
from tests.report.figures.test_style import luminance
from tests.report.records import record, runs, store

matplotlib.use("Agg")

NASTY = "</style></script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;{{ 7*7 }}"
REFERENCE = Path(__file__).parents[2] / "results" / "reference"


class Parsed(HTMLParser):
    """The tags of a page with their attributes, its text, and whether every element was closed."""

    VOID = {"meta", "link", "img", "br"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, attribute: str, tag: str | None = None) -> list[str]:
        return [value for name, attributes in self.tags if tag in (None, name)
                and (value := attributes.get(attribute)) is not None]


def tables(*records: RunRecord) -> list[ComparisonTable]:
    """Of runs in folders like real ones: no two share one."""
    placed = [run._replace(folder=Path("gone", run.record.dataset, f"lag={run.record.protocol.serving_lag}",
                                       *run.folder.parts[1:])) for run in runs(records)]
    return comparison_tables(placed)[0]


def page(*records: RunRecord, **more: object) -> str:
    return html(tables(*records), [], [], **more)  # type: ignore[arg-type]


def several() -> list[RunRecord]:
    test = {"HR@10": 0.4, "NDCG@10": 0.1, "HR@10/low": 0.3, "HR@10/middle": 0.4, "HR@10/high": 0.5, "HR@10/rare": 0.1,
            "coverage@10": 0.7, "gini@10": 0.6, "novelty@10": 9.5, "diversity@10": 0.8}
    return [record("sasrec", 1, 0.5), record("sasrec", 2, 0.6),
            record("hstu", 1, metrics={"valid": {}, "test": test}, information=["times"]),
            record("sasrec", 1, 0.3, protocol=Protocol(serving_lag=900)),
            record("ease", dataset="other", dataset_fingerprint="bbbb"),
            record("oracle", hr=0.9, information=["the simulator's truth"])]


def drawn(folder: Path, dataset: str = "tiny", text: str = "a title") -> Drawn:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(3, 2))
    axes.plot([1, 2], [3, 4])
    axes.set_title(text, parse_math=False)
    path = folder / f"figure{len(list(folder.iterdir()))}.svg"
    figure.savefig(path)
    pyplot.close(figure)
    return Drawn(path.stem, dataset, text, f"{text}, described", [path])


def ablation(folder: Path, variant: str = "NIP", dataset: str = "tiny") -> StoredAblation:
    folder.mkdir(parents=True)
    document = {
        "ablation": "tamip", "dataset": dataset, "dataset_fingerprint": "aaaa", "claim": "It helps.",
        "reference": "NIP",
        "rows": [{"variant": variant, "serving_lag": 900, "seeds": [1, 2],
                  "metrics": {"HR@10/step 1": {"mean": 0.25, "spread": 0.01}, "HR@10/step 10": {"mean": 0.125},
                              "HR@10/step 2": {"mean": 0.5}},
                  "differences": {"HR@10/step 1": {"mean": -0.05, "interval": [-0.1, 0.0], "p_value": 0.04}}}],
        "paper": {"NIP": {"HR@10/step 1": 0.038}}, "paper_source": "figure 3"}
    (folder / "table.json").write_text(json.dumps(document))
    (found,), warnings = stored_ablations(folder.parents[2])
    assert warnings == []
    return found


def test_every_link_leads_somewhere_and_every_run_has_its_place(tmp_path: Path) -> None:
    shown = Parsed(html(tables(*several()), ["careful"], [drawn(tmp_path), drawn(tmp_path, "")],
                        [ablation(tmp_path / "ablations" / "tamip" / "tiny")]))
    ids = shown.all("id")
    assert len(ids) == len(set(ids)) and all(re.fullmatch(r"[a-z0-9.-]+", each) for each in ids)
    inside = [link[1:] for link in shown.all("href", "a") if link.startswith("#")]
    assert set(inside) <= set(ids)
    articles = shown.all("id", "article")
    assert len(articles) == 6 and set(articles) <= set(inside)
    assert {link for link in shown.all("href", "a") if not link.startswith("#")} == {
        "./ablations/tamip/tiny/table.json",
        *(f"./{place}/tuned-seed1/record.json" for place in (
            "tiny/lag%3D0/sasrec", "tiny/lag%3D0/hstu", "tiny/lag%3D0/oracle", "tiny/lag%3D900/sasrec",
            "other/lag%3D0/ease")),
        "./tiny/lag%3D0/sasrec/tuned-seed2/record.json"}


def test_links_lead_to_the_records_from_where_the_page_lies(tmp_path: Path) -> None:
    results = tmp_path / "my results"
    made = record("javascript:alert(1)", dataset="50 % #1?")
    folder = store(results, made)
    folder = folder.rename(folder.with_name("50 % #1?"))
    (table,), _ = comparison_tables([runs([made])[0]._replace(folder=folder)])
    link = next(link for link in Parsed(html([table], [], [], results="../my results")).all("href", "a")
                if link.endswith("record.json"))
    assert link.startswith("../my%20results/") and link.endswith("/50%20%25%20%231%3F/record.json")
    (tmp_path / "out").mkdir()
    assert (tmp_path / "out" / unquote(link)).resolve() == folder / "record.json"


def test_nothing_is_loaded_and_the_policy_forbids_it(tmp_path: Path) -> None:
    text = html(tables(*several()), [], [drawn(tmp_path)], [ablation(tmp_path / "ablations" / "tamip" / "tiny")])
    shown = Parsed(text)
    assert not any(each.startswith(("http", "//")) for each in shown.all("href") + shown.all("src"))
    assert shown.all("src") and all(each.startswith("data:image/svg+xml;base64,") for each in shown.all("src"))
    assert shown.all("href", "link") == ["data:,"] and "@import" not in text and "url(" not in text
    policy = next(content for content in shown.all("content") if "default-src" in content)
    assert "default-src 'none'" in policy and "'unsafe-inline'" not in policy
    assert [tag for tag, _ in shown.tags].count("script") == [tag for tag, _ in shown.tags].count("style") == 1
    assert not shown.all("style") and not any(name.startswith("on") for _, each in shown.tags for name in each)


def test_text_from_records_and_data_stays_text(tmp_path: Path) -> None:
    plain = Parsed(html(tables(record(information=["a"]), record("b")), ["w"], [drawn(tmp_path)],
                        [ablation(tmp_path / "ablations" / "tamip" / "plain")]))
    nasty_record = record(
        NASTY, dataset=NASTY, recipe=NASTY, dataset_fingerprint=NASTY, information=[NASTY], command=NASTY, commit=NASTY,
        config={NASTY: NASTY}, config_sources={NASTY: NASTY}, versions={NASTY: NASTY}, checksums={NASTY: NASTY},
        dataset_counts={NASTY: 3, "items": 300}, dataset_unofficial=[NASTY], obeys=NASTY, selected_by=NASTY,
        started=NASTY, finished=NASTY,
        protocol=Protocol(condition=NASTY), machine={"cpu": NASTY, "threads": 1, "device": NASTY, "system": NASTY},
        stages=[{"name": NASTY, "run": NASTY, "saw": NASTY, "metrics": {}, "fit_seconds": 1.0, "epochs": 1}])
    text = html(tables(nasty_record, nasty_record.model_copy(update={"model": NASTY + "2"})), [NASTY],
                [drawn(tmp_path, NASTY, NASTY)],
                [ablation(tmp_path / "more" / "ablations" / "tamip" / "x", NASTY, NASTY)])
    shown = Parsed(text)
    assert "<script>alert" not in text and "<img src=x" not in text
    assert {tag for tag, _ in shown.tags} <= {tag for tag, _ in plain.tags}
    assert shown.text.count(NASTY) >= 20 and NASTY + ", described" in shown.all("alt")
    assert len(shown.all("id")) == len(set(shown.all("id")))


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    figure, records = drawn(tmp_path), several()
    first, second = (html(tables(*order), ["w"], [figure]) for order in (records, list(reversed(records))))
    assert first == second


def test_the_header_says_what_is_in_it() -> None:
    newest = record("new", finished="2026-02-03T04:05:06+00:00", versions={"cpbench": "9.9"}, commit="0123456789abcdef",
                    dirty=True)
    text = Parsed(page(newest, record(seed=2), record())).text
    assert "3 runs of 2 models on 1 dataset: 1 comparison table." in text
    assert "The newest run finished 2026-02-03 04:05:06 UTC, made by cpbench 9.9, commit 0123456789ab with " in text


def test_a_table_has_its_caption_figures_and_order() -> None:
    (table,) = tables(*several()[:3], record("oracle", hr=0.9))
    text = html([table], [], [])
    shown = Parsed(text)
    assert all(sentence in shown.text for sentence in caption(table))
    assert '<td data-order="0.55" class="best"><a href="#runs-1">0.5500</a><small>± 0.0707</small></td>' in text
    assert "sees ids + times" in shown.text and shown.all("aria-sort") == ["descending"]
    assert text.index(">sasrec</a>") < text.index(">hstu</a>") < text.index("<tfoot>") < text.index(">oracle</a>")
    assert "0.3000" in shown.text and "HR@10/rare" in shown.text and "9.5000" in shown.text  # not in the main table
    assert "45.1 k" in shown.text and "100 MB" in shown.text and "2 / 3" in shown.text
    assert "12.50" in shown.text  # 0.5 s for 40 events, in milliseconds


def test_statistics_are_shown_with_what_they_rest_on() -> None:
    if not REFERENCE.is_dir():
        pytest.skip("results/reference is not here")
    from cpbench.report.collect import collect

    found, _ = collect(REFERENCE, ["streaming-unordered"])
    (first, *_), _ = with_statistics(comparison_tables(found)[0])
    shown = Parsed(html([first], [], []))
    compared = next(row for row in first.rows if row.differences)
    estimate, difference = compared.metrics["HR@10"], compared.differences["HR@10"]
    assert estimate.interval and f"[{estimate.interval[0]:.4f}, {estimate.interval[1]:.4f}]" in shown.text
    sign = mark(difference) + ("" if difference.p_value < 0.05 else f" ±{difference.bound:.4f}")
    assert f"{difference.mean:+.4f} {sign}" in shown.text
    assert f"Differences to {first.reference}" in shown.text and f"{difference.effect:+.3f}" in shown.text


def test_published_values_stand_beside_ours_with_their_source() -> None:
    shown = Parsed(page(record(dataset="amazon-beauty"), record("ease", dataset="amazon-beauty")))
    assert "0.0605 / 0.0318" in shown.text and "S3-Rec" in shown.text
    assert any("source" in link for link in shown.all("href", "a"))


def test_what_a_record_says_of_its_run() -> None:
    text = Parsed(page(record(
        config={"width": 64, "loss": "bce", "epochs": 3}, checksums={"ranks.parquet": "sha256:12"}, test_looks=2,
        config_sources={"width": "--set", "loss": "recipe tuned: a search", "epochs": "default"},
        selected_by="validation NDCG@10", commit="c0ffee", dirty=False, command="cpbench run --set width=64"))).text
    for expected in ("cpbench run --set width=64", "width = 64", "recipe tuned: a search", "loss = bce", "sha256:12",
                     "2 of 3, chosen by validation NDCG@10", "c0ffee, without uncommitted changes",
                     "tiny/lag=0/sasrec/tuned-seed1",
                     "a processor, 2 threads, cpu, Linux x86_64", "python 3.11", "aaaa", "12 s to fit",
                     "2026-01-01 00:00:00 UTC"):
        assert expected in text, expected


def test_one_model_one_seed_no_figures() -> None:
    shown = Parsed(page(record()))
    assert "Single run of each model" in shown.text and "figures" not in shown.all("id")
    assert not any("best" in each for each in shown.all("class", "td"))


def test_no_runs_at_all() -> None:
    assert "0 runs of 0 models" in Parsed(html([], ["nothing here"], [])).text


def test_two_versions_of_a_dataset_are_told_apart() -> None:
    text = Parsed(page(record(), record(dataset_fingerprint="bbbb"))).text
    assert "tiny (data aaaa)" in text and "tiny (data bbbb)" in text


def test_what_inspect_says_stands_with_the_very_same_data_only() -> None:
    facts = describe(made([("a", "x", 0), ("a", "y", 60), ("b", "x", 10)]))
    lags = dict(in_words(facts))["consumption lag"]
    assert lags in Parsed(page(record(), inspected={"aaaa": facts})).text
    assert lags not in Parsed(page(record(), inspected={"bbbb": facts})).text


def test_ablations(tmp_path: Path) -> None:
    stored = ablation(tmp_path / "ablations" / "tamip" / "tiny")
    assert stored.metrics == ["HR@10/step 1", "HR@10/step 2", "HR@10/step 10"] and stored.figure is None
    (tmp_path / "ablations" / "tamip" / "tiny" / "tamip.svg").write_text("<svg/>")
    shown = Parsed(page(record(), ablations=[stored]))
    for expected in ("It helps.", "serving lag 900 s, 2 seeds", "± 0.0100", "-0.0500", "[-0.1000, +0.0000]", "p 0.040",
                     "paper: NIP", "0.0380", "Paper: figure 3."):
        assert expected in shown.text, expected
    assert len(shown.all("src", "img")) == 1


def test_an_ablation_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    ablation(tmp_path / "ablations" / "tamip" / "tiny")
    for name, text in (("damaged", "{"), ("list", "[]"), ("strange", "{}")):
        (tmp_path / "ablations" / "tamip" / name).mkdir()
        (tmp_path / "ablations" / "tamip" / name / "table.json").write_text(text)
    found, warnings = stored_ablations(tmp_path)
    assert [each.dataset for each in found] == ["tiny"] and len(warnings) == 3
    assert all("cannot be read" in each and "repeat `cpbench ablate`" in each for each in warnings)
    assert stored_ablations(tmp_path, ["other"])[0] == [] and stored_ablations(tmp_path / "nowhere") == ([], [])


def test_all_text_can_be_read_on_all_grounds() -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1."""
    schemes = re.findall(r"--back: .*", resources.files("cpbench.report").joinpath("page.css").read_text())
    assert len(schemes) == 3
    for scheme in schemes:
        light = {name: luminance(value) for name, value in re.findall(r"--(\w+): (#\w+)", scheme)}
        for ink in ("text", "faint", "link"):
            for ground in ("back", "head", "mark"):
                dark, bright = sorted((light[ink], light[ground]))
                assert (bright + 0.05) / (dark + 0.05) >= CONTRAST, (scheme, ink, ground)


def test_a_figure_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(CpbenchError, match=r"gone\.svg cannot be read"):
        html(tables(record()), [], [Drawn("gone", "tiny", "", "", [tmp_path / "gone.svg"])])


def test_a_thousand_records_link_to_their_own() -> None:
    records = [record(f"m{number // 5}", number % 5, 0.1 + number / 10_000) for number in range(1000)]
    shown = Parsed(page(*records))
    links = [link for link in shown.all("href", "a") if link.endswith("record.json")]
    assert len(links) == 1000 > IN_FULL and "cpbench run" not in shown.text and not shown.all("id", "article")
    assert {link[1:] for link in shown.all("href", "a") if link.startswith("#")} <= set(shown.all("id"))


def test_ids_are_never_given_twice() -> None:
    ids = Ids()
    given = [ids.new(text) for text in ("a", "A", "a-2", "a", "<>", "é", "a.2", "a-2")]
    assert len(set(given)) == len(given) and given[:2] == ["a", "a-2"]
