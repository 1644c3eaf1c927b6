"""RecBole's atomic files, read and written: NAME.inter (who took what, when) and NAME.item (what the items are).

Tab-separated; the header types every column: ``user_id:token  item_id:token  timestamp:float  genre:token_seq``. The
values of a sequence are separated by spaces; a space inside a value is written as a no-break space, at which RecBole
does not split, and read back as a space.
"""

from pathlib import Path

import polars as pl

from cpbench.data import fetch
from cpbench.data.dataset import Dataset
from cpbench.data.tables import ids, read_slowly, rows_of, unique_ids
from cpbench.data.timestamps import MICRO, Place, Unit, microseconds, seconds
from cpbench.data.user_files import check_described, check_name, own_dataset
from cpbench.errors import UsageError
from cpbench.files import atomic_file

TYPES = ("token", "token_seq", "float", "float_seq")
INTERACTIONS = {"user_id": "token", "item_id": "token", "timestamp": "float"}
ITEMS = {"item_id": "token"}
TAB, NO_BREAK_SPACE = "\t", "\N{NO-BREAK SPACE}"


def prepare_atomic(name: str, path: Path, items: Path | None = None, unit: Unit = "s", k_core: int = 0) -> Dataset:
    """The dataset `name` from ``x.inter``, and from ``x.item`` where it lies beside (or `items` names another).

    Of the items: token and token_seq columns are attributes, `title` (or `..._title`) is the title, `released:float`
    the release time; other numbers are left out, with a warning in the manifest. Raises UsageError for anything that
    is wrong with the files.
    """
    check_name(name)
    frame, place = _read(path, INTERACTIONS)
    exact = microseconds(frame["timestamp"], unit, place)
    raw = pl.DataFrame({"user": ids(frame["user_id"], place), "item": ids(frame["item_id"], place),
                        "time": exact // MICRO, "fraction": exact % MICRO})
    items = items or items_beside(path)
    if items is None:
        return own_dataset(name, raw, None, {"interactions": path}, k_core)
    table, warnings = _items(items, unit)
    check_described(raw, path, table, items)
    return own_dataset(name, raw, table, {"interactions": path, "items": items}, k_core, warnings)


def items_beside(path: Path) -> Path | None:
    """The file of items that belongs to ``x.inter``: ``x.item``, where there is one."""
    beside = path.with_suffix(".item")
    return beside if beside.is_file() else None


def _items(path: Path, unit: Unit) -> tuple[pl.DataFrame, list[str]]:
    frame, place = _read(path, ITEMS)
    header = _header(path)
    if "id" in header or header.get("released", "float") != "float":
        raise UsageError(f"{path}: {'id' if 'id' in header else 'released'} means something else here "
                         "(item_id:token is the id, released:float the release time): give the column another name")
    title = "title" if "title" in header else next((name for name in header if name.endswith("_title")), None)
    columns = {"id": unique_ids(frame["item_id"], place), "title": pl.Series([None] * frame.height, dtype=pl.String)}
    left_out = []
    for name, kind in header.items():
        if name == title:
            columns["title"] = frame[name].replace("", None)
        elif name == "released" and kind == "float":
            columns[name] = seconds(frame[name], unit, place, release=True)
        elif kind == "token_seq":
            columns[name] = _values(frame[name].str.split(" "))
        elif kind == "token" and name != "item_id":
            columns[name] = _values(frame.select(pl.concat_list(name)).to_series())
        elif name != "item_id":
            left_out.append(f"{name}:{kind}")
    warnings = [f"{path.name}: {', '.join(left_out)} left out: a number is no attribute of items"] if left_out else []
    return pl.DataFrame(columns), warnings


def _values(lists: pl.Series) -> pl.Series:
    spaced = lists.list.eval(pl.element().str.replace_all(NO_BREAK_SPACE, " ").str.strip_chars())
    return spaced.list.eval(pl.element().filter(pl.element() != "")).fill_null([])


def _read(path: Path, needed: dict[str, str]) -> tuple[pl.DataFrame, Place]:
    """Every column as text, under its name without the type, and how an error calls a row."""
    header = _header(path)
    for name, kind in needed.items():
        if header.get(name) != kind:
            why = ": a sequence needs an order" if name == "timestamp" else ""
            has = ", ".join(f"{column}:{its}" for column, its in header.items())
            raise UsageError(f"{path} has no column {name}:{kind} (it has {has}){why}")

    def place(row: int) -> str:
        return f"{path}, line {row + 2}"

    try:
        with fetch.reading(path):
            frame = pl.read_csv(path, separator=TAB, has_header=False, skip_rows=1, infer_schema=False,
                                new_columns=list(header), encoding="utf8", glob=False)
    except pl.exceptions.NoDataError:
        raise UsageError(f"{path} holds no rows") from None
    except pl.exceptions.PolarsError:
        return read_slowly(path, list(header), list(header), TAB), place
    if frame.width != len(header) or any(frame.null_count().row(0)):  # polars fills up a short row in silence
        for _ in rows_of(path, TAB):
            pass
    return frame, place


def _header(path: Path) -> dict[str, str]:
    """Column name -> type."""
    with fetch.reading(path), path.open("rb") as stream:
        line = stream.readline()
    try:
        fields = line.decode("utf-8-sig").rstrip("\r\n").split(TAB)
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text") from None
    if fields == [""]:
        raise UsageError(f"{path} is empty")
    header: dict[str, str] = {}
    for field in fields:
        name, _, kind = field.partition(":")
        if not name or kind not in TYPES:
            raise UsageError(f"{path}: {field!r} in the header is not NAME:TYPE with one of the types "
                             f"{', '.join(TYPES)}; tabs separate columns, as in user_id:token<tab>item_id:token")
        if name in header:
            raise UsageError(f"{path} names the column {name} twice")
        header[name] = kind
    return header


def export(dataset: Dataset, folder: Path, force: bool = False) -> list[Path]:
    """Write ``folder/NAME.inter`` and ``NAME.item``, with the original ids; both or none.

    Reading them again gives the same Dataset, except for items and users without any interaction. Raises UsageError
    when the files are there already or an attribute cannot be named, CpbenchError when they cannot be written.
    """
    paths = [folder / f"{dataset.name}.{kind}" for kind in ("inter", "item")]
    for path in paths:
        if path.exists() and not force:
            raise UsageError(f"{path} exists already (--force writes it again)")
    table = dataset.item_table
    if odd := [name for name in dataset.attribute_names if ":" in name or not name]:
        raise UsageError(f"RecBole cannot read a column called {odd[0]!r}: a name and a colon stand before its type")
    users = dataset.user_ids.cast(pl.String).gather(dataset.user_of_interaction())
    interactions = pl.DataFrame({"user_id:token": users, "item_id:token": table["id"].gather(dataset.items),
                                 "timestamp:float": dataset.times})
    columns = {"item_id:token": table["id"], "title:token_seq": table["title"]}
    for name in table.columns[2:]:
        if name in dataset.attribute_names:
            spaced = table[name].list.eval(pl.element().str.replace_all(" ", NO_BREAK_SPACE))
            columns[f"{name}:token_seq"] = spaced.list.join(" ")
        else:
            columns[f"{name}:float"] = table[name]
    with atomic_file(paths[0]) as inter, atomic_file(paths[1]) as item:
        try:
            interactions.write_csv(inter, separator=TAB)
            pl.DataFrame(columns).write_csv(item, separator=TAB)
        except pl.exceptions.PolarsError as error:  # how polars reports a full disk
            raise OSError(str(error).rpartition("error: ")[2]) from error
    return paths
