import json

from tests.cli.process import cpbench
from tests.cli.refusal import refused

SMALL = ("--users", "2", "--length", "8", "--width", "20", "--items", "60", "--repeats", "2")


def test_serve_answers_with_both_ratios(tmp_path):
    done = cpbench(tmp_path, "bench", "serve", *SMALL, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["one_condition_over_plain"] > 0 and document["eight_conditions_over_one"] > 0
    assert document["workload"]["users"] == 2


def test_a_wrong_method_or_width_is_one_sentence(tmp_path):
    assert "did you mean 'cgsa'" in refused(cpbench(tmp_path, "bench", "serve", "--method", "cgas", *SMALL), 2)
    assert "multiple of 4" in refused(cpbench(tmp_path, "bench", "serve", "--width", "30"), 2)
    assert "did you mean 'hnsw'" in refused(cpbench(tmp_path, "bench", "serve", "--index", "hsnw", *SMALL), 2)
    assert "no run record" in refused(cpbench(tmp_path, "bench", "serve", "--run", "climber-pilot"), 2)
