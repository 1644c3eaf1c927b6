import json

from tests.cli.process import cpbench
from tests.cli.refusal import refused
from tests.report.test_verify import honest, kept


def test_it_says_what_cannot_be_trusted(tmp_path):
    folder = kept(tmp_path / "results", honest())
    done = cpbench(tmp_path, "verify")
    assert done.returncode == 0 and done.stdout == "1 run: all recomputed metrics follow from the ranks\n"
    assert done.stderr == ("1 run, 21 metrics recomputed from their ranks, "
                           "the files of 0 compared with recorded checksums\n")
    assert cpbench(tmp_path, "verify", folder / "record.json").stdout == done.stdout
    (folder / "record.json").write_text((folder / "record.json").read_text().replace('"MRR":', '"MRR":2'))
    wrong = cpbench(tmp_path, "verify", folder, "--json")
    assert wrong.returncode == 1 and "Traceback" not in wrong.stderr
    document = json.loads(wrong.stdout)
    assert document["wrong"] == 1 and document["runs"][0]["problems"][0].startswith("MRR is 2")


def test_nothing_to_look_at_is_bad_usage(tmp_path):
    assert ("no run record in results, which does not exist; make one with "
            "`cpbench run --model popularity,sasrec,climber-pilot`") in refused(cpbench(tmp_path, "verify"), 2)
    (tmp_path / "results").mkdir()
    assert "no run record in results; make one with" in refused(cpbench(tmp_path, "verify"), 2)
    (tmp_path / "file").write_text("")
    assert "file is no folder: give that of the" in refused(cpbench(tmp_path, "verify", "--results", "file"), 2)
    assert "file is not the folder of a run" in refused(cpbench(tmp_path, "verify", "file"), 2)
    assert "no run record in results" in refused(cpbench(tmp_path, "verify", "nowhere"), 2)
