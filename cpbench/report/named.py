"""The run that a user means: its folder, its record, or words that its path holds."""

from pathlib import Path

from cpbench.errors import CpbenchError, UsageError, closest
from cpbench.report.collect import collect
from cpbench.report.place import folder_name
from cpbench.report.record import FILE_NAME, load_record, run_folders

MODEL = "model"
"""The folder of a run's stored model; the reference results are kept without."""


def find_run(reference: str, results: Path, with_model: bool = False) -> Path:
    """The folder of a run: its path or that of its record, its path below `results`, or part of it (``streaming``,
    ``climber-pilot``, ``condition=genre``, ``streaming/leave-one-out/climber-pilot``), which names the newest run whose
    path holds all of those words. Damaged records are passed over where another run fits.

    Raises UsageError when there is none; `with_model`: none whose model is stored.
    """
    for path in (Path(reference), results / reference):
        folder = path.parent if path.name == FILE_NAME else path
        if (folder / FILE_NAME).is_file():
            if with_model and not (folder / MODEL).is_dir():
                raise UsageError(f"{folder} holds a record but no stored model")
            return folder
    words = [folder_name(word) for word in reference.split("/") if word]
    folders = [folder for folder in run_folders(results) if not with_model or (folder / MODEL).is_dir()]
    finished: dict[Path, tuple[str, int]] = {}
    damaged: list[CpbenchError] = []
    for folder in folders:
        parts = folder.relative_to(results).parts
        if not words or not all(any(word in _words(part) or part.startswith(f"{word},") for part in parts)
                                for word in words):
            continue
        try:
            # records count whole seconds; a short run and its pre-training may end within one
            finished[folder] = (load_record(folder).finished, (folder / FILE_NAME).stat().st_mtime_ns)
        except CpbenchError as error:  # another run may fit as well
            damaged.append(error)
    if finished:
        return max(finished, key=finished.__getitem__)
    if damaged:
        raise damaged[0]
    if reference and Path(reference).exists():
        raise UsageError(f"{reference} is not the folder of a run: it holds no {FILE_NAME}")
    collect(results)  # says so when there is no run at all
    stored = " with a stored model" if with_model else ""
    raise UsageError(f"no run {reference!r}{stored} in {results}{_nearest(words, folders, results)}; "
                     f"`cpbench run` makes one, `cpbench report --results {results}` lists them")


def _words(part: str) -> tuple[str, ...]:
    """Of a folder's name: itself, and what stands between its commas."""
    return (part, *part.split(","))


def _nearest(words: list[str], folders: list[Path], results: Path) -> str:
    """``, did you mean 'ml-100k/ease'?``, where a word is not one of any run's."""
    known = {word for folder in folders for part in folder.relative_to(results).parts for word in _words(part)}
    guess = [word if word in known else next(iter(closest(word, known, 1)), "") for word in words]
    return f", did you mean {'/'.join(guess)!r}?" if guess and all(guess) and guess != words else ""
