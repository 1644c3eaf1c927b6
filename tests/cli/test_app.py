import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from polars.exceptions import PanicException

from tests.cli.process import cpbench, environment, own_process
from tests.cli.refusal import refused
from tests.report.test_verify import honest, kept

OPTIONS = {
    "download": ["--from", "--force", "--list", "--columns", "--json", "--quiet"],
    "datasets": ["--json"],
    "inspect": ["NAME", "--json", "--quiet"],
    "models": ["--json"],
    "check-model": [],
    "run": ["--model", "--dataset", "--seeds", "--recipe", "--set", "--split", "--serving-lag", "--exclude-seen",
            "--include-seen", "--device", "--results", "--force", "--json", "--quiet"],
    "report": ["--dataset", "--results", "--format", "--json"],
    "eval": ["--dataset", "--columns", "--json"],
}


VALUES = {"run": ["leave-one-out", "temporal"], "report": ["markdown", "latex"], "eval": ["temporal", "item=sku"]}
"""What must not be broken in the middle on a terminal of 80 columns."""


def test_help_names_every_command(tmp_path):
    done = own_process(tmp_path, "--help")
    assert done.returncode == 0 and all(command in done.stdout for command in OPTIONS)
    for panel in ("Data", "Models", "Experiments"):
        assert panel in done.stdout
    bare = own_process(tmp_path)
    assert bare.stdout.strip() == done.stdout.strip() and "error" not in bare.stderr


@pytest.mark.parametrize("command", OPTIONS)
def test_help_of_every_command_has_its_options_and_examples(tmp_path, command):
    done = cpbench(tmp_path, command, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert all(option in done.stdout for option in OPTIONS[command])
    assert f"cpbench {command}" in done.stdout.partition("Examples:")[2], "no example"
    assert "In preparation" not in done.stdout
    narrow = cpbench(tmp_path, command, "--help", COLUMNS="80").stdout
    assert "…" not in narrow and all(value in narrow for value in VALUES.get(command, []))


def test_a_mistyped_command_or_option_gets_the_nearest(tmp_path):
    done = cpbench(tmp_path, "rnu")
    assert done.returncode == 2 and "Did you mean 'run'?" in done.stderr
    done = cpbench(tmp_path, "report", "--formt", "csv")
    assert done.returncode == 2 and "--format" in done.stderr and done.stdout == ""


def test_a_header_steers_no_terminal(tmp_path):
    (tmp_path / "c.csv").write_text('x\x1b[31m,"two\nlines",t\na,b,1\n')
    done = cpbench(tmp_path, "download", "mine", "--from", "c.csv", "--columns", "user=u,item=i,time=t")
    assert refused(done, 2) == r"c.csv: unknown column 'u'; Known: t, two lines, x\x1b[31m"
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("argument", ["res\x1b[31mults", "res\udcffults"])
def test_an_argument_that_no_record_could_hold(tmp_path, argument):
    done = cpbench(tmp_path, "report", "--results", argument)
    assert "holds control characters, or bytes that are not UTF-8 text" in refused(done, 2)


def test_what_looks_like_the_code_of_an_emoji_is_printed_as_it_stands(tmp_path):
    assert "'a:b:c'" in cpbench(tmp_path, "check-model", "a:b:c").stderr
    assert "a:b:c" in cpbench(tmp_path, "verify", "--results", "a:b:c").stderr
    folder = kept(tmp_path / "a:b:c", honest(dirty=True))
    done = cpbench(tmp_path, "verify", folder)
    assert done.returncode == 0 and "a:b:c" in "".join(done.stdout.split())
    (folder / "record.json").write_text("{")
    warned = cpbench(tmp_path, "report", "--results", "a:b:c").stderr
    assert "a:b:c" in warned and "\N{NEGATIVE SQUARED LATIN CAPITAL LETTER B}" not in warned


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_output_is_utf8_whatever_the_locale(tmp_path, encoding):
    kept(tmp_path / "results", honest())
    usual = cpbench(tmp_path, "report")
    assert usual.returncode == 0 and not usual.stdout.isascii()
    assert cpbench(tmp_path, "report", PYTHONIOENCODING=encoding).stdout == usual.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_full_disk_under_the_output_is_said(tmp_path):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "cpbench", "datasets", "--json"], stdout=full, text=True,
                              stderr=subprocess.PIPE, env=environment(tmp_path))
    assert done.returncode == 1
    assert done.stderr == "error: standard output cannot be written: No space left on device\n"


def test_a_closed_output_is_said(tmp_path):
    done = subprocess.run(["sh", "-c", f"{shlex.quote(sys.executable)} -m cpbench datasets >&-"], text=True,
                          stderr=subprocess.PIPE, env=environment(tmp_path))
    assert (done.returncode, done.stderr) == (1, "error: standard output is closed: there is nowhere to print to\n")


@pytest.mark.parametrize("error", [ValueError("what now\nand then"), PanicException("what now")])
def test_what_nobody_expected_is_one_sentence(tmp_path, monkeypatch, error):
    def raising(**_):
        raise error

    monkeypatch.setattr("cpbench.cli.app.app", raising)
    done = cpbench(tmp_path, "datasets")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert "what now (this is a bug in cpbench; set CPBENCH_DEBUG=1" in done.stderr


def test_version_and_what_it_imports(tmp_path):
    done = own_process(tmp_path, "--version")
    assert done.returncode == 0 and done.stdout.startswith("cpbench ")
    code = "import sys, cpbench.cli.app; print({'numpy', 'polars', 'torch', 'matplotlib'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout == "set()\n"  # else every --help takes twice as long
