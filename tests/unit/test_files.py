"""Files are whole or not there, and a full disk is one clear line. The disk is a real one, of one megabyte."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from maskedsae.jobs.errors import InputError
from maskedsae.jobs.files import read_json, require_space, write_bytes, write_json

SCRIPTS = Path(__file__).parents[2] / "scripts"


def on_a_full_disk(code: str, folder: Path) -> subprocess.CompletedProcess:
    """Run Python where `folder` is a disk of one megabyte, in a mount namespace of its own."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode != 0:
        pytest.skip("no disk of one megabyte can be made: this needs Linux and user namespaces (unshare -rm)")
    mount = f'mount -t tmpfs -o size=1m tmpfs "{folder}" && exec "{sys.executable}" -c "$CODE"'
    environment = os.environ | {"CODE": code, "PYTHONPATH": str(SCRIPTS), "FOLDER": str(folder)}
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount], env=environment, capture_output=True, text=True, check=False
    )


WRITE = """
import os
from pathlib import Path
from maskedsae.jobs.errors import InputError
from maskedsae.jobs.files import write_bytes
path = Path(os.environ["FOLDER"]) / "state.pt"
write_bytes(path, b"old" * 100_000)
try:
    write_bytes(path, b"new" * 300_000)
except InputError as error:
    print(error)
print(path.read_bytes() == b"old" * 100_000, sorted(os.listdir(path.parent)))
"""


def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path):
    done = on_a_full_disk(WRITE, tmp_path)
    assert done.returncode == 0, done.stderr
    line, after = done.stdout.splitlines()
    assert line == f"{tmp_path}/state.pt: no space left on the disk for 900,000 bytes: free some and start again"
    assert after == "True ['state.pt']"


ASK = """
import os
from maskedsae.jobs.errors import InputError
from maskedsae.jobs.files import require_space
require_space(os.environ["FOLDER"], 500_000, "little")
try:
    require_space(os.environ["FOLDER"], 5_000_000, "the tokens")
except InputError as error:
    print(error)
"""


def test_too_small_a_disk_is_said_before_the_work(tmp_path):
    done = on_a_full_disk(ASK, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the tokens will take 5 MB, and its disk has 1 MB free" in done.stdout


def test_there_is_space_for_little(tmp_path):
    require_space(tmp_path / "new", 1, "a byte")


def test_json_round_trip_and_no_nan(tmp_path):
    write_json(tmp_path / "a" / "b.json", {"x": [1, None]})
    assert read_json(tmp_path / "a" / "b.json") == {"x": [1, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "c.json", {"x": float("nan")})
    assert not (tmp_path / "c.json").exists()


def test_broken_json_is_named(tmp_path):
    (tmp_path / "a.json").write_text('{"x": ')
    with pytest.raises(InputError, match=r"a\.json: not valid JSON"):
        read_json(tmp_path / "a.json")


def test_another_error_than_a_full_disk_is_left_as_it_is(tmp_path):
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        write_bytes(tmp_path / "folder", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_file_is_on_the_disk_before_it_takes_its_name_and_its_name_after_that(tmp_path, monkeypatch):
    """Else a power cut may leave the new name with nothing in it, or the old file under the new name."""
    path, calls = tmp_path / "state.pt", []
    fsync, replace = os.fsync, os.replace

    def name_of(number: int) -> str:
        return os.path.basename(os.readlink(f"/proc/self/fd/{number}"))

    monkeypatch.setattr(os, "fsync", lambda number: (calls.append(("fsync", name_of(number))), fsync(number))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append(("replace", Path(b).name)), replace(a, b))[1])
    write_bytes(path, b"content")
    written = f".state.pt.{os.getpid()}.tmp"
    assert calls == [("fsync", written), ("replace", "state.pt"), ("fsync", tmp_path.name)]
    assert path.read_bytes() == b"content"
