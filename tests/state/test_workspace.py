"""A workspace is made once, opened safely, and refused where another thing lies or another workbench wrote it."""

import sqlite3
import subprocess
import sys

import pytest

from workbench.errors import BusyError, InputError, NotFoundError
from workbench.state import writing
from workbench.state.workspace import FOLDERS, SECRET_KEYS, Workspace, check_name
from workbench.workflows.operations.initialise import initialise


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def test_making_a_workspace_again_changes_nothing(workspace):
    keys = {name: workspace.key(name) for name in SECRET_KEYS}
    before = contents(workspace.root / "keys")
    again = initialise(workspace.root)
    assert {name: again.key(name) for name in SECRET_KEYS} == keys
    assert contents(again.root / "keys") == before
    assert len(set(keys.values())) == len(keys), "every key is its own"


def test_the_keys_are_for_their_owner_alone(workspace):
    keys = workspace.root / "keys"
    assert keys.stat().st_mode & 0o777 == 0o700
    modes = {p.name: p.stat().st_mode & 0o777 for p in keys.iterdir()}
    assert modes == {f"{name}.key": 0o600 for name in SECRET_KEYS} | {"signing.pem": 0o600, "signing.pub.pem": 0o644}


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 33, None])
def test_a_damaged_key_is_refused(workspace, damage):
    path = workspace.root / "keys" / "token.key"
    path.unlink() if damage is None else path.write_bytes(damage)
    with pytest.raises(InputError, match=r"token key .* missing or damaged"):
        workspace.key("token")


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"thesis\.tex"):
        initialise(tmp_path)
    assert contents(tmp_path) == before


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        Workspace.create(tmp_path / "file")


def test_a_readme_and_an_interrupted_start_are_no_hindrance(tmp_path):
    (tmp_path / "README.md").touch()
    (tmp_path / ".gitignore").touch()
    (tmp_path / "keys").mkdir()
    assert Workspace.create(tmp_path).key("token")


SPELLINGS = ["with space", "wörk 東京 🗼", "hash#tag", "semi;colon&", "quote'd"]


@pytest.mark.parametrize("name", [" ".join(SPELLINGS), *(pytest.param(s, marks=pytest.mark.slow) for s in SPELLINGS)])
def test_a_path_may_be_spelt_in_any_language(tmp_path, name):
    workspace = initialise(tmp_path / name)
    with writing(workspace.engine):
        pass
    assert (tmp_path / name / "mlflow.db").is_file()
    assert [p.name for p in tmp_path.iterdir()] == [name], "nothing was made elsewhere"


@pytest.mark.parametrize("name", ["per%20cent", "per%cent", "quest?ion"])
def test_a_path_that_mlflow_misreads_is_refused_before_anything_is_made(tmp_path, name):
    with pytest.raises(InputError, match="MLflow can't open"):
        initialise(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    assert Workspace.create(tmp_path / name).root.name == name, "the state database itself takes it"
    assert {p.name for p in (tmp_path / name).iterdir() if p.is_dir()} == set(FOLDERS)


def test_where_there_is_no_workspace_none_is_found_or_made(tmp_path):
    with pytest.raises(NotFoundError, match="not a workspace"):
        Workspace.open(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("opened", [Workspace.open, Workspace.create])
def test_a_workspace_of_a_newer_workbench_is_refused(workspace, opened):
    connection = sqlite3.connect(workspace.root / "state.db")
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(InputError, match="revision") as caught:
        opened(workspace.root)
    assert "newer" in caught.value.hint


@pytest.mark.parametrize("opened", [Workspace.open, Workspace.create])
@pytest.mark.parametrize("damage", ["garbage", "cut", "header"])
def test_a_damaged_database_is_refused(workspace, opened, damage):
    path = workspace.root / "state.db"
    content = path.read_bytes()
    path.write_bytes(
        {"garbage": b"garbage" * 999, "cut": content[:5000], "header": b"\x00" * 100 + content[100:]}[damage]
    )
    with pytest.raises(InputError, match="cannot be read"):
        opened(workspace.root)


_HOLDER = """
import sys
from pathlib import Path
from workbench.state.workspace import Workspace
with Workspace(Path(sys.argv[1])).lock("d"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_data_set_has_one_writer_among_all_processes(workspace):
    command = [sys.executable, "-c", _HOLDER, str(workspace.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match="data set d"), workspace.lock("d"):
            pass
        with workspace.lock("another"):
            pass
        holder.kill()
    with workspace.lock("d"):  # a killed holder holds nothing
        pass


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_staging_is_removed_whatever_happens(workspace, error):
    def work():
        with workspace.staging() as folder:
            (folder / "deep").mkdir()
            (folder / "deep" / "file").touch()
            if error:
                raise error

    if error:
        with pytest.raises(error):
            work()
    else:
        work()
    assert list((workspace.root / "staging").iterdir()) == []


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/x", "-x", "a..b", "a b", "é", "a\n", "x" * 65, "CON\x00"]
)
def test_a_name_that_could_leave_its_folder_is_refused(workspace, name):
    with pytest.raises(InputError, match="not a usable name"):
        check_name(name, "data set")
    with pytest.raises(InputError, match="not a usable name"):
        workspace.data_folder(name)


@pytest.mark.parametrize("name", ["a", "Adult_2024.v1-b", "0", "x" * 64])
def test_a_plain_name_is_usable(workspace, name):
    assert workspace.data_folder(name).parent == workspace.root / "data"
