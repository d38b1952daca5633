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
import yaml

from conftest import ROOT
from maskedsae.experiment.checks import check

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
        for step in ("", " fast"):
            assert len(found[f"train {shape}{step}"]["quality"]) == 4
            assert all(0 < number < 100 for number in found[f"resume {shape}{step}"]["from_step"])
        assert 0 < found[f"agreement {shape}"]["residual_stream"] < 1e-5
        steps = found[f"steps {shape}"]
        assert 0 < steps["agreement"] < 1e-4 and set(steps["step_ms"]) == {"stock", "fast"}
        assert all(0 < row["of_stock_one_by_one"] < 2 and 0 < row["floor_share"] < 1 for row in steps["ours"].values())
    assert sum(f1 > 0.6 for f1 in found["shared"]["letters"].values()) >= 20
    assert len(found["scores"]) == 5
    assert 0 < found["ood"]["auc"] < 1
    assert set(report["compute"]) == {"tflops", "step_ms"}
    rows = done.stdout.splitlines()
    assert [row[:26].strip() for row in rows if " passed " in row] == names
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


FAKE_STEPS = """
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
outcome = {"outcome": "failed" if name == "failing" else "passed", "words": f"{name}: one line", "host_gigabytes": 1.0}
outcome["numbers"] = {
    "machine": {"device": "a GPU"},
    "stream pythia-shape": {"tflops": {"float32": 41.234, "tf32": 99.9}, "gigabytes": 3.14},
    "stream gemma-shape": {"tflops": {"bfloat16": 481.6}, "gigabytes": 7.0},
    "steps pythia-shape": {"step_ms": {"stock": 4.75, "fast": 1.0}},
    "steps gemma-shape": {"step_ms": {"stock": 4.5, "fast": 1.26}},
}.get(name, {})
Path("steps", f"{name.replace(' ', '_')}.json").write_text(json.dumps(outcome))
"""


@pytest.fixture
def faked(tmp_path, kit, monkeypatch) -> Path:
    """The kit in its working folder, with steps that only say what became of them; where its report goes."""
    (tmp_path / "steps.py").write_text(FAKE_STEPS)
    monkeypatch.setattr(kit, "HERE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["kit.py"])
    (tmp_path / "out" / "work").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "out" / "work")
    return tmp_path / "out"


def test_what_was_measured_is_printed_as_the_configuration_has_it(kit, faked, monkeypatch, capsys):
    shapes = (kit.PYTHIA, kit.GEMMA)
    names = ("machine", *(f"{what} {shape}" for what in ("stream", "steps") for shape in shapes))
    monkeypatch.setattr(kit, "STEPS", tuple(kit.Step(name, 60) for name in names))
    with pytest.raises(SystemExit) as ended:
        kit.main()
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "passed       0." in printed and "     3.1  stream pythia-shape: one line" in printed
    _, lines = printed.split("For config.yaml, as measured on a GPU:\n")
    overlay = yaml.safe_load(lines)
    assert overlay == {
        "compute": {"tflops": {"float32": 41, "tf32": 100, "bfloat16": 480}, "step_ms": {"stock": 4.8, "fast": 1.3}}
    }
    import configuration

    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    assert check(configuration.merged(config, overlay)).compute.tflops.bfloat16 == 480
    assert json.loads((faked / "report.json").read_text())["compute"]["step_ms"]["stock"] == 4.75


def test_a_step_that_fails_dies_or_hangs_costs_only_what_needs_it(kit, faked, monkeypatch, capsys):
    names = ("machine", "failing", "killed", "hanging", "last")
    steps = [kit.Step(name, 3 if name == "hanging" else 60) for name in names]
    monkeypatch.setattr(kit, "STEPS", (*steps, kit.Step("waiting", 60, ("failing",))))
    with pytest.raises(SystemExit) as ended:
        kit.main()
    assert ended.value.code == 1
    report = json.loads((faked / "report.json").read_text())
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
