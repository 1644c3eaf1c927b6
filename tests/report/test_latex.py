import shutil
import subprocess

import pytest

from cpbench.report.latex import escape, latex
from cpbench.report.tables import comparison_tables
from tests.report.records import record, runs

NASTY = r"50% of #1 & $x_2^3$ {~} \emph{é} <b>|日本"

PATH = "../published/reference/semantic_ids/letter/Beauty.index.json.gz"


def nasty() -> str:
    return latex(comparison_tables(runs([record(NASTY, 1, 0.4), record(NASTY, 2, 0.5), record("ease", hr=0.1),
                                         record("tiger", hr=0.2, config={"tokens": PATH},
                                                config_sources={"tokens": "--set"}),
                                         record("oracle", hr=0.9)]))[0])


def test_text_from_data_stays_text():
    assert escape("a_b & 5 %") == r"a\_b \& 5 \%"
    assert escape(NASTY).endswith(r"\textbackslash{}emph\{é\} \textless{}b\textgreater{}\textbar{}??")


def test_it_is_a_booktabs_table_with_the_best_in_bold():
    text = nasty()
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == text.count(r"\begin{table}") == 1
    assert r"\textbf{0.4500}" in text and r"{\scriptsize $\pm$0.0707}" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 5 and len({line.replace(r"\&", "").count(" & ") for line in rows}) == 1


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here: pdflatex is not installed")
@pytest.mark.parametrize("paper", ["landscape,a3paper", "a5paper"])
def test_it_compiles_as_it_stands_and_fits_the_page(tmp_path, paper):
    text = nasty()
    assert "landscape,a3paper" in text
    (tmp_path / "report.tex").write_text(text.replace("landscape,a3paper", paper), encoding="utf-8")
    done = subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "report.tex"], cwd=tmp_path,
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert b"Overfull" not in done.stdout
