"""`cpbench download`, as a user runs it."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.process import cpbench, environment, start
from tests.cli.refusal import refused
from tests.data.official import full_ml_100k, full_musical_instruments, ml_100k, reviews
from tests.data.server import Behaviour, serving

COLUMNS = "user=who,item=what,time=at"
NAME = "ml-100k/ml-100k.zip"


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mirror")
    full_ml_100k(folder / NAME)
    full_musical_instruments(folder / "amazon-2014" / "reviews_Musical_Instruments_5.json.gz")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def events(folder: Path, text: str = "who,what,at\nann,x,1\nann,y,2\nbob,x,3\n") -> str:
    (folder / "events.csv").write_text(text)
    return str(folder / "events.csv")


def test_a_whole_download_from_a_mirror(home: Path, mirror: Path) -> None:
    done = cpbench(home, "download", "ml-100k", "amazon-musical-instruments", "--json", CPBENCH_MIRROR=str(mirror))
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)["datasets"]
    assert first["counts"] == {"users": 943, "items": 1682, "interactions": 100_000}
    assert first["sources"][0]["official"] is False
    assert second["counts"] == {"users": 1429, "items": 900, "interactions": 10_261}
    assert second["sources"][0]["official"] == "unknown"
    assert "warning: ml-100k: ml-100k.zip is not the official file (md5:" in done.stderr
    assert "warning: amazon-musical-instruments: meta_Musical_Instruments.json.gz is missing" in done.stderr
    assert "ml-100k.zip: 0." in done.stderr  # what was fetched, how fast, from where
    assert f"from {mirror / NAME}" in done.stderr

    again = cpbench(home, "download", "ml-100k")  # no network is needed to find it ready
    assert again.returncode == 0
    assert "ml-100k: already prepared (--force does it again)" in again.stderr

    listed = cpbench(home, "download", "--list", "--json")
    states = {row["name"]: row["ready"] for row in json.loads(listed.stdout)["datasets"]}
    assert states["ml-100k"]
    assert not states["ml-1m"]


def test_quiet_keeps_warnings(home: Path, mirror: Path) -> None:
    done = cpbench(home, "download", "ml-100k", "--quiet", "--from", mirror / NAME)
    assert done.returncode == 0
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("warning: ml-100k: ml-100k.zip is not the official file")


def test_without_a_name_the_standard_sets_sizes_come_first(home: Path, mirror: Path) -> None:
    done = cpbench(home, "download", CPBENCH_MIRROR=str(mirror))  # this mirror holds none of them
    assert "holds no ml-1m/ml-1m.zip" in refused(done, 2)
    assert [line.partition(":")[0] for line in done.stderr.splitlines()[:3]] == ["ml-1m", "amazon-beauty", "lastfm"]


def test_a_killed_download_is_continued(home: Path, mirror: Path) -> None:
    content = (mirror / NAME).read_bytes()
    with serving(Behaviour({NAME: content}, delay=0.3)) as web:
        first = start(home, "download", "ml-100k", "--from", web.url)
        part = home / "raw" / "ml-100k" / ".ml-100k.zip.new" / ".ml-100k.zip.part"
        while not (part.exists() and part.stat().st_size):
            time.sleep(0.02)
            assert first.poll() is None
        first.send_signal(signal.SIGKILL)
        first.communicate()
        assert not (home / "prepared").exists()
        web.delay = 0
        second = cpbench(home, "download", "ml-100k", "--from", web.url)
    assert second.returncode == 0, second.stderr
    assert web.requests[0] == (NAME, None)
    assert web.requests[1][1] is not None


def test_an_interrupted_download_says_so(home: Path, mirror: Path) -> None:
    with serving(Behaviour({NAME: (mirror / NAME).read_bytes()}, delay=0.3)) as web:
        process = start(home, "download", "ml-100k", "--from", web.url)
        while not web.requests:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert err.strip().splitlines()[-1].startswith("error: interrupted")
    assert not (home / "prepared").exists()


def test_two_at_once_do_the_work_once(home: Path, mirror: Path) -> None:
    with serving(Behaviour({NAME: (mirror / NAME).read_bytes()}, delay=0.2)) as web:
        both = [start(home, "download", "ml-100k", "--json", "--from", web.url) for _ in range(2)]
        answers = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    documents = [json.loads(out)["datasets"][0] for out, _ in answers]
    assert sorted(document["status"] for document in documents) == ["prepared", "ready"]
    assert documents[0]["fingerprint"] == documents[1]["fingerprint"]
    assert len(web.requests) == 1


def test_no_network(home: Path) -> None:
    message = refused(cpbench(home, "download", "ml-100k", "--from", "http://127.0.0.1:1"), 1)
    assert message.startswith("cannot fetch http://127.0.0.1:1/ml-100k/ml-100k.zip (no connection: ")
    assert "give a copy with --from or CPBENCH_MIRROR" in message


def test_a_server_without_the_file(home: Path) -> None:
    with serving(Behaviour({})) as web:
        message = refused(cpbench(home, "download", "ml-100k", "--from", web.url), 1)
    assert "the server answers 404" in message


def test_wrong_counts(home: Path, tmp_path: Path) -> None:
    ml_100k(tmp_path / "ml-100k.zip", [(1, 1, 1), (2, 1, 2)])
    message = refused(cpbench(home, "download", "ml-100k", "--from", tmp_path), 2)
    assert ("expected 943 users, 1,682 items, 100,000 interactions; the files hold 2 users, 1 items, 2 interactions"
            in message)
    assert not (home / "prepared").exists()


def test_a_truncated_archive(home: Path, tmp_path: Path, mirror: Path) -> None:
    (tmp_path / "ml-100k.zip").write_bytes((mirror / NAME).read_bytes()[:-1000])
    message = refused(cpbench(home, "download", "ml-100k", "--from", tmp_path / "ml-100k.zip"), 2)
    assert message.startswith("ml-100k.zip is truncated or damaged")


def test_a_malformed_line(home: Path, tmp_path: Path) -> None:
    reviews(tmp_path / "reviews_Beauty_5.json.gz", [("A", "B", "noon")])  # type: ignore[list-item]
    message = refused(cpbench(home, "download", "amazon-beauty", "--from", tmp_path), 2)
    assert message.startswith("reviews_Beauty_5.json.gz, line 1: unixReviewTime is 'noon', not a whole number")


def test_a_cache_that_cannot_be_written(tmp_path: Path, mirror: Path) -> None:
    (tmp_path / "file").touch()
    done = cpbench(tmp_path, "download", "ml-100k", "--from", mirror, CPBENCH_HOME=str(tmp_path / "file"))
    message = refused(done, 1)
    assert message.startswith("cannot write ")
    assert message.endswith("CPBENCH_HOME moves the data cache")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_cache(home: Path, mirror: Path) -> None:
    home.chmod(0o500)
    assert "Permission denied" in refused(cpbench(home, "download", "ml-100k", "--from", mirror), 1)


def limited(home: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A disk on which no file can grow beyond 64 KiB."""
    return subprocess.run([sys.executable, "-m", "cpbench", *map(str, arguments)], capture_output=True, text=True,
                          check=False, env=environment(home), timeout=120,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16)))


def test_a_full_disk_while_fetching(home: Path, mirror: Path) -> None:
    message = refused(limited(home, "download", "ml-100k", "--from", mirror), 1)
    assert message.startswith("cannot write ")
    assert "File too large" in message
    assert not list(home.rglob("*.zip"))


def test_a_full_disk_while_preparing(home: Path, tmp_path: Path) -> None:
    rows = "".join(f"u{row % 997},i{row * row % 1009},{row * 7919 % 10**9}\n" for row in range(30_000))
    path = events(tmp_path, f"who,what,at\n{rows}")
    message = refused(limited(home, "download", "mine", "--from", path, "--columns", COLUMNS), 1)
    assert message.startswith("cannot write ")
    assert "nothing was left behind" in message
    assert list((home / "prepared").iterdir()) == []


def test_ones_own_data(home: Path, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("id,title,genre\nx,Song X,jazz|folk\ny,Song Y,\n")
    done = cpbench(home, "download", "mine", "--from", events(tmp_path), "--columns", COLUMNS, "--items",
                   str(tmp_path / "items.csv"), "--json", CPBENCH_MIRROR="/not/for/this")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["datasets"][0]["counts"] == {"users": 2, "items": 2, "interactions": 3}
    assert "1 of 2 users have a single interaction; they are kept" in done.stderr
    assert "'mine' is your own dataset" in refused(cpbench(home, "download", "mine"), 2)


def test_prepared_already_by_this_command_or_by_another(home: Path, tmp_path: Path) -> None:
    made = ["download", "mine", "--from", events(tmp_path), "--columns", COLUMNS]
    assert cpbench(home, *made).returncode == 0
    again = cpbench(home, *made)
    assert again.returncode == 0
    assert "mine: already prepared" in again.stderr
    assert refused(cpbench(home, *made, "--k-core", "1"), 2) == (
        "'mine' is prepared already, but otherwise (--k-core was 0, now 1): add --force to prepare it again, or "
        "choose another name")
    assert refused(cpbench(home, *made, "--items", "absent.csv"), 2).startswith("absent.csv cannot be read: ")
    assert cpbench(home, *made, "--k-core", "1", "--force").returncode == 0


@pytest.mark.parametrize(("arguments", "message"), [
    (["ml1m"], "unknown dataset 'ml1m'; did you mean 'ml-1m'"),
    (["ml-1m", "nonsense"], "unknown dataset 'nonsense'"),
    (["mine", "--from", "EVENTS"], "holds your own data (it has who, what, at): name them and say which column"),
    (["--from", "EVENTS"], "as in cpbench download NAME --from FILE --columns user=...,item=...,time=..."),
    (["mine", "--from", "plays.txt"], "for your own data add --columns user=...,item=...,time=..."),
    (["mine", "--from", "https://a.example/plays.csv", "--columns", COLUMNS], "from this machine: fetch https://a.e"),
    (["ml-1m", "--from", "EVENTS", "--columns", COLUMNS], "'ml-1m' is the name of a dataset that cpbench knows"),
    (["../mine", "--from", "EVENTS", "--columns", COLUMNS], "'../mine' cannot name a dataset"),
    (["mine", "--columns", COLUMNS], "(or in .inter, without --columns): add --from FILE"),
    (["mine", "--from", ".", "--columns", COLUMNS], ". is a folder: your own interactions lie in a file that ends in"),
    (["--from", "EVENTS", "--columns", COLUMNS], "your own data need one name"),
    (["mine", "--from", "EVENTS", "--columns", "user=who,item=what"], "lacks time; a sequence needs an order"),
    (["mine", "--from", "EVENTS", "--columns", "user=who,item=wat,time=at"], "unknown column 'wat'; did you mean"),
    (["mine", "--from", "EVENTS", "--columns", COLUMNS, "--time-unit", "m"], "unknown time unit 'm'"),
    (["ml-1m", "--k-core", "5"], "--items, --time-unit and --k-core are for your own data"),
    (["ml-1m", "--frm", "x"], "No such option"),
], ids=range(16))
def test_bad_usage(home: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    path = events(tmp_path)
    assert message in refused(cpbench(home, "download", *(path if a == "EVENTS" else a for a in arguments)), 2)


def test_help_shows_the_options(home: Path) -> None:
    done = cpbench(home, "download", "--help")
    assert done.returncode == 0
    for option in ("--from", "--columns", "--items", "--time-unit", "--k-core", "--list", "--force", "--json"):
        assert option in done.stdout
