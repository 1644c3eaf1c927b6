import threading
import time

import pytest

from cpbench.errors import CpbenchError
from cpbench.experiments.lock import only_one


def test_one_at_a_time_and_nothing_stays(tmp_path):
    order, said = [], []

    def hold(name: str, seconds: float) -> None:
        with only_one(tmp_path / "run", said.append):
            order.append(f"{name} in")
            time.sleep(seconds)
            order.append(f"{name} out")

    first = threading.Thread(target=hold, args=("first", 0.5))
    first.start()
    while not order:
        time.sleep(0.01)
    hold("second", 0)
    first.join()
    assert order == ["first in", "first out", "second in", "second out"]
    assert said == ["another process is at work on this run: waiting for it"]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CpbenchError, match="cannot write"), only_one(tmp_path / "file" / "run", print):
        pass
