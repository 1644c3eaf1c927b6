"""Training and full-ranking time of the same SASRec in cpbench, RecTools and RePlay, one after another.

    python tests/bench/compare.py                    # ml-1m, some ten minutes on two cores
    python tests/bench/compare.py --users 300 --epochs 1 --only ours,replay    # does it run?

Each peer has a virtual environment of its own under .bench/ (made here when absent). See README.md.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from cpbench.data import catalogue
from cpbench.files import atomic_file, write_json
from cpbench.training.loop import choose_device
from cpbench.training.precision import has_bfloat16

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TORCH = "torch==2.13.0"  # first and alone, so that a CPU build at hand is taken and no CUDA packages come along
SCRIPTS = {  # name in the table -> environment, script, its own options
    "ours": ("ours", "ours_sasrec.py", []),
    "rectools": ("rectools", "rectools_sasrec.py", []),
    "replay": ("replay", "replay_sasrec.py", []),
    "replay-buckets": ("replay", "replay_sasrec.py", ["--length-buckets"]),
}
PEERS = {"rectools": "rectools[torch]==0.19.0", "replay": "replay-rec[torch]==0.22.0"}


def environment(folder: Path, requirement: str) -> Path:
    """The Python of a virtual environment that holds `requirement`; made when absent or half made."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = folder / "ready.txt"
    wanted = f"{TORCH}\n{requirement}\n"
    if not ready.is_file() or ready.read_text(encoding="utf-8") != wanted:
        venv.create(folder, with_pip=True, clear=True)
        for step in (TORCH, requirement):
            print(f"installing {step} into {folder.relative_to(ROOT)}", file=sys.stderr)
            subprocess.run([python, "-m", "pip", "install", "-q", step], check=True)
        ready.write_text(wanted, encoding="utf-8")
    return python


def export(name: str, users: int | None, folder: Path) -> Path:
    """The interactions of the first `users` users of a prepared dataset, as the scripts read them."""
    dataset = catalogue.load(name)
    count = int(dataset.offsets[users]) if users and users < dataset.n_users else dataset.n_interactions
    path = folder / f"{name}-{users or 'all'}.npz"
    with atomic_file(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, user=dataset.user_of_interaction()[:count],
                 item=dataset.items[:count], time=dataset.times[:count])
    return path


def run(python: Path, script: str, options: list[str], data: Path, epochs: int, precision: str) -> dict:
    command = [python, HERE / script, "--data", data, "--epochs", str(epochs), "--precision", precision, *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{script} failed with status {done.returncode}: see above")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="ml-1m")
    parser.add_argument("--users", type=int, help="only the first N users, for a quick check")
    parser.add_argument("--epochs", type=int, default=2, help="measured epochs, after one of warm-up")
    parser.add_argument("--only", default=",".join(SCRIPTS))
    parser.add_argument("--peers-bfloat16", action="store_true", help="time the peers in bfloat16, too")
    parser.add_argument("--out", type=Path, default=ROOT / ".bench" / "compare.json")
    asked = parser.parse_args()

    data = export(asked.dataset, asked.users, ROOT / ".bench")
    rows = []
    for library in asked.only.split(","):
        if library not in SCRIPTS:
            parser.error(f"--only knows {', '.join(SCRIPTS)}, not {library!r}")
        home, script, options = SCRIPTS[library]
        python = Path(sys.executable) if home == "ours" else environment(ROOT / ".bench" / home, PEERS[home])
        for precision in ("float32", "bfloat16"):
            low = has_bfloat16(choose_device("auto")) if library == "ours" else asked.peers_bfloat16
            if precision == "bfloat16" and not low:
                continue
            print(f"{library}, {precision}", file=sys.stderr)
            result = run(python, script, options, data, asked.epochs, precision)
            rows.append({"library": library, "precision": precision, **result,
                         "seconds_per_epoch": float(np.median(result["epoch_seconds"]))})

    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(),
               "python": platform.python_version(), "torch": TORCH, **PEERS}
    write_json(asked.out, {"dataset": asked.dataset, "users": asked.users, "machine": machine, "rows": rows})
    Console(width=110).print(table(rows))
    print(f"written to {asked.out}", file=sys.stderr)


def table(rows: list[dict]) -> Table:
    """Ratios are to cpbench in float32 (or to its first row)."""
    base = next((row for row in rows if row["library"] == "ours"), None)
    view = Table(title="SASRec: length 200, width 64, 2 blocks, 2 heads, batch 128, full softmax")
    for column in ("library", "precision", "s per epoch", "x ours", "full ranking, s", "x ours", "peak RSS, GB"):
        view.add_column(column, justify="left" if column in ("library", "precision") else "right")
    for row in rows:
        ratios = [f"{row[key] / base[key]:.2f}" if base else "" for key in ("seconds_per_epoch", "rank_seconds")]
        view.add_row(row["library"], row["precision"], f"{row['seconds_per_epoch']:.1f}", ratios[0],
                     f"{row['rank_seconds']:.2f}", ratios[1], f"{row['peak_rss_bytes'] / 1e9:.2f}")
    return view


if __name__ == "__main__":
    main()
