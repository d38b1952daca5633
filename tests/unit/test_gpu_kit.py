"""The kit for whoever has a GPU: the same steps on a CPU, and what it says where something is missing or fails."""

import json
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.metadata import version
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch

from conftest import ROOT

KIT = ROOT / "benchmarks" / "gpu"


def run(folder: Path, *options: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    command = [python, str(KIT / "run"), "--out", str(folder / "out"), *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def kit(monkeypatch):
    """Its module."""
    monkeypatch.syspath_prepend(str(KIT))
    import kit

    return kit


def test_on_a_cpu_every_step_passes_and_the_table_and_the_report_say_so(tmp_path, kit):
    done = run(tmp_path, "--small")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert done.returncode == 0, done.stdout + (tmp_path / "out" / "log.txt").read_text()
    names = [step.name for step in kit.STEPS]
    assert [row["step"] for row in report["steps"]] == names
    assert {row["outcome"] for row in report["steps"]} == {"passed"}
    found = {row["step"]: row["numbers"] for row in report["steps"]}
    for shape in (kit.PYTHIA, kit.GEMMA):
        assert found[f"stream {shape}"]["tokens_per_second"] > 0
        assert len(found[f"stream {shape}"]["step_ms"]) == len(found[f"train {shape}"]["quality"]) == 4
        assert all(0 < step < 100 for step in found[f"resume {shape}"]["from_step"])
        assert 0 < found[f"agreement {shape}"]["residual_stream"] < 1e-5
    assert sum(f1 > 0.6 for f1 in found["shared"]["letters"].values()) >= 20
    assert len(found["scores"]) == 5
    assert 0 < found["ood"]["auc"] < 1
    assert set(report["compute"]) == {"tflops", "step_ms"}
    rows = done.stdout.splitlines()
    assert [row[:22].strip() for row in rows if " passed " in row] == names
    assert f"{len(names)} of {len(names)} steps passed" in done.stdout
    assert "compute:" not in done.stdout  # a CPU's numbers are not for config.yaml
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["log.txt", "report.json"]


def test_without_a_gpu_it_says_so_runs_nothing_else_and_fails(tmp_path, kit):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = run(tmp_path)
    rows = done.stdout.splitlines()[1:]
    assert done.returncode == 1
    assert "compute.device: cuda asks for a GPU, but" in rows[0] and "FAILED" in rows[0]
    assert all("NOT RUN" in row and "needs" in row for row in rows[1 : len(kit.STEPS)])
    assert f"0 of {len(kit.STEPS)} steps passed" in done.stdout


STEPS = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
name = sys.argv[1]
if name == "killed":
    print("about to die", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
if name == "hanging":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path("child").write_text(str(child.pid))
    print("waiting", flush=True)
    time.sleep(600)
outcome = {"outcome": "failed" if name == "failing" else "passed", "words": f"{name}: one line"}
Path("steps", f"{name}.json").write_text(json.dumps(outcome | {"numbers": {}, "host_gigabytes": 1.0}))
"""


def test_a_step_that_fails_dies_or_hangs_costs_only_what_needs_it(tmp_path, kit, monkeypatch, capsys):
    (tmp_path / "steps.py").write_text(STEPS)
    names = ("machine", "failing", "killed", "hanging", "last")
    steps = [kit.Step(name, 3 if name == "hanging" else 60) for name in names]
    monkeypatch.setattr(kit, "STEPS", (*steps, kit.Step("waiting", 60, ("failing",))))
    monkeypatch.setattr(kit, "HERE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["kit.py"])
    (tmp_path / "out" / "work").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "out" / "work")
    with pytest.raises(SystemExit) as ended:
        kit.main()
    assert ended.value.code == 1
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    found = {row["step"]: (row["outcome"], row["words"]) for row in report["steps"]}
    assert found == {
        "machine": ("passed", "machine: one line"),
        "failing": ("failed", "failing: one line"),
        "killed": ("failed", "ended by SIGKILL; its last line: about to die"),
        "hanging": ("failed", "stopped after 3 s; its last line: waiting"),
        "last": ("passed", "last: one line"),
        "waiting": ("not run", "needs failing"),
    }
    assert "2 of 6 steps passed" in capsys.readouterr().out
    child = Path("/proc", Path("child").read_text(), "status")
    assert not child.exists() or "Z (zombie)" in child.read_text()


def script(name: str):
    """The module of a script that has no suffix."""
    loader = SourceFileLoader(name, str(KIT / name))
    module = module_from_spec(spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


def test_a_machine_that_lacks_packages_is_told_where_they_come_from(tmp_path, monkeypatch):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    done = run(tmp_path, python=str(tmp_path / "bare" / "bin" / "python"))
    assert done.returncode == 1
    assert "has no torch, transformers, numpy" in done.stderr and "start this with another Python" in done.stderr
    runner = script("run")
    monkeypatch.setattr(runner, "carried", lambda: ["sae-bench", "no-such-package"])
    monkeypatch.setattr(runner, "WHEELS", tmp_path / "none")
    line = runner.run_kit(tmp_path, small=True)
    assert "has no no-such-package: start this with the project's own Python" in line
    assert "or run benchmarks/gpu/pack where there is a network" in line


def test_every_package_that_is_carried_is_pinned_and_is_one_that_we_have(monkeypatch):
    pins = script("pack").pins()
    assert len(pins) == len(script("run").carried())
    assert {name: version(name) for name, _, _ in (pin.partition("==") for pin in pins)} == {
        name: pinned for name, _, pinned in (pin.partition("==") for pin in pins)
    }


def test_a_trimmed_wheel_is_whole_without_what_was_left_out(tmp_path):
    record = "own/used.py,sha256=a,1\nown/bin/unused,sha256=b,2\nown-1.dist-info/RECORD,,\n"
    wheel = tmp_path / "own-1-py3-none-any.whl"
    with ZipFile(wheel, "w") as file:
        for name, content in (("own/used.py", "x"), ("own/bin/unused", "yy"), ("own-1.dist-info/RECORD", record)):
            file.writestr(name, content)
    script("pack").trim(wheel, ["own/bin/*"])
    with ZipFile(wheel) as file:
        assert file.namelist() == ["own/used.py", "own-1.dist-info/RECORD"]
        assert file.read("own-1.dist-info/RECORD").decode() == "own/used.py,sha256=a,1\nown-1.dist-info/RECORD,,\n"
    assert [path.name for path in tmp_path.iterdir()] == [wheel.name]
