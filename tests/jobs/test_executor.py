"""Work in processes of its own gives what it gives in the caller's, and leaves no process behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from until import until

from workbench.errors import InputError
from workbench.jobs.executor import Local, local


def thrice(number):
    yield from (number, 10 * number, os.getpid())


def killed(number):
    if number:
        os.kill(os.getpid(), signal.SIGKILL)
    yield number


def nothing():
    pass


def test_outcomes_are_those_of_one_process_in_the_order_of_each_item():
    here = list(Local(1).run(thrice, [1, 2, 3], watch=nothing))
    there = list(Local(2).run(thrice, [1, 2, 3], watch=nothing))
    assert here == [n for i in (1, 2, 3) for n in (i, 10 * i, os.getpid())]
    by_item = sorted(there[at : at + 3] for at in range(0, 9, 3))
    assert [outcomes[:2] for outcomes in by_item] == [[1, 10], [2, 20], [3, 30]]
    assert os.getpid() not in {pid for _, _, pid in by_item}


def test_a_process_that_is_killed_is_told():
    with pytest.raises(InputError, match="a process that trained was killed"):
        list(Local(2).run(killed, [0, 1], watch=nothing))


def test_the_work_stops_where_watching_raises():
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(Local(2).run(thrice, [1, 2], watch=stop))


_PARENT = """
import sys
from test_executor import sleeping
from workbench.jobs.executor import Local
list(Local(2).run(sleeping, [sys.argv[1]] * 2, watch=lambda: None))
"""


def sleeping(folder):
    Path(folder, str(os.getpid())).touch()
    time.sleep(300)
    yield 0


def test_processes_end_with_a_parent_that_was_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    pids = tmp_path / "pids"
    pids.mkdir()
    parent = subprocess.Popen(
        [sys.executable, script, pids], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    until(lambda: len(list(pids.iterdir())) >= 2, parent)
    parent.kill()
    parent.wait()
    until(lambda: not any(_runs(int(path.name)) for path in pids.iterdir()))


def _runs(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("asked", ["0", "-1", "two"])
def test_a_number_of_processes_that_is_none_is_refused(monkeypatch, asked):
    monkeypatch.setenv("WORKBENCH_PROCESSES", asked)
    with pytest.raises(InputError, match="WORKBENCH_PROCESSES"):
        local(worthwhile=True, bytes_each=1)


def test_processes_are_as_many_as_memory_allows():
    assert local(worthwhile=False, bytes_each=1) == Local(1)
    assert local(worthwhile=True, bytes_each=1) == Local(len(os.sched_getaffinity(0)))
    assert local(worthwhile=True, bytes_each=2**50) == Local(1)
