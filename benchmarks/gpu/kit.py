"""Runs the steps, each in a process of its own; prints a row for each as it ends, and writes report.json and log.txt.

Started by `run`, which sees to it that everything can be imported, in a working folder inside the one for these files.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).absolute().parent
REPORT, LOG = Path("../report.json"), Path("../log.txt")
MINUTES = 9.5  # on a GPU, for everything: what has not begun by then is not run, and what runs is stopped
PATIENCE = 4  # times that and times each step's seconds, on a CPU that others use too


@dataclass(frozen=True)
class Step:
    name: str
    seconds: int  # at most; a step that hangs must not cost the others their time
    needs: tuple[str, ...] = ()


PYTHIA, GEMMA = "pythia-shape", "gemma-shape"
STEPS = (
    Step("machine", 60),
    Step("models", 180, ("machine",)),
    *(Step(f"agreement {shape}", 120, ("models",)) for shape in (PYTHIA, GEMMA)),
    *(Step(f"stream {shape}", 90, ("models",)) for shape in (PYTHIA, GEMMA)),
    *(Step(f"steps {shape}", 120, (f"stream {shape}",)) for shape in (PYTHIA, GEMMA)),
    *(Step(f"train {shape}", 120, ("models",)) for shape in (PYTHIA, GEMMA)),
    Step("texts", 90, ("models",)),
    Step("shared", 180, ("texts",)),
    Step("scores", 180, ("shared", f"train {PYTHIA}")),
    Step("ood", 120, (f"train {PYTHIA}",)),
    *(Step(f"train {shape} fast", 120, (f"steps {shape}",)) for shape in (PYTHIA, GEMMA)),
    *(Step(f"resume {shape} fast", 180, (f"train {shape} fast",)) for shape in (PYTHIA, GEMMA)),
    *(Step(f"resume {shape}", 180, (f"train {shape}",)) for shape in (PYTHIA, GEMMA)),
)


@dataclass
class Row:
    """What became of a step."""

    step: str
    outcome: str  # passed, failed or not run
    words: str
    seconds: float = 0.0
    numbers: dict[str, Any] = field(default_factory=dict)
    host_gigabytes: float | None = None

    def __str__(self) -> str:
        gigabytes = self.numbers.get("gigabytes")
        memory = "-" if gigabytes is None else f"{gigabytes:.1f}"
        outcome = self.outcome if self.outcome == "passed" else self.outcome.upper()
        return f"{self.step:<26} {outcome:<8} {self.seconds:>7.1f} {memory:>7}  {self.words}"


HEADER = f"{'step':<26} {'':<8} {'seconds':>7} {'GPU GB':>7}  found"


def run(step: Step, small: bool, rows: dict[str, Row], until: float) -> Row:
    """`until`: when the time for all steps is over."""
    unmet = [name for name in step.needs if rows[name].outcome != "passed"]
    if unmet:
        return Row(step.name, "not run", f"needs {unmet[0]}")
    left = until - time.monotonic()
    if left < 5:
        return Row(step.name, "not run", "the time for all steps is over")
    command = [sys.executable, str(HERE / "steps.py"), step.name, *(["--small"] if small else [])]
    limit = min(step.seconds * (PATIENCE if small else 1), left)
    began, stopped = time.monotonic(), ""
    with LOG.open("ab") as output:
        output.write(f"\n== {step.name}\n".encode())
        output.flush()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            stopped = f"stopped after {limit:.0f} s"
        finally:
            end(process)
    seconds, result = time.monotonic() - began, Path("steps", f"{step.name.replace(' ', '_')}.json")
    if stopped or not result.exists():
        why = stopped or ended(process.returncode)
        return Row(step.name, "failed", f"{why}; its last line: {last_line(LOG)}", seconds)
    return Row(step.name, seconds=seconds, **json.loads(result.read_text()))


def end(process: "subprocess.Popen[bytes]") -> None:
    """The step, and what it started: the next one needs the whole device."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def ended(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").replace("\r", "\n").splitlines()
    return next((line.strip()[:150] for line in reversed(lines) if line.strip()), "")


def measured(rows: dict[str, Row]) -> dict[str, Any] | None:
    """What config.yaml's section `compute` wants to know of a device."""
    names = [f"{what} {shape}" for what in ("stream", "steps") for shape in (PYTHIA, GEMMA)]
    if any(name not in rows or rows[name].outcome != "passed" for name in names):
        return None
    streams, steps = ([rows[name].numbers for name in group] for group in (names[:2], names[2:]))
    # Of the two shapes, the slower.
    step_ms = {way: max(found["step_ms"][way] for found in steps) for way in ("stock", "fast")}
    return {"tflops": streams[1]["tflops"] | streams[0]["tflops"], "step_ms": step_ms}


def rounded(value: float) -> str:
    """To two digits: 480, and not 4.8e+02."""
    return f"{float(f'{value:.2g}'):g}"


def write_report(rows: dict[str, Row], small: bool, seconds: float) -> None:
    """After every step, so that a run that is killed leaves what it had found."""
    about = {"small": small, "machine": rows["machine"].numbers, "seconds": round(seconds, 1)}
    content = about | {"compute": measured(rows), "steps": [asdict(row) for row in rows.values()]}
    REPORT.write_text(json.dumps(content, indent=2) + "\n")


def main() -> None:
    small, began = "--small" in sys.argv, time.monotonic()
    LOG.unlink(missing_ok=True)
    Path("steps").mkdir()
    until = began + 60 * MINUTES * (PATIENCE if small else 1)
    rows: dict[str, Row] = {}
    print(HEADER, flush=True)
    for step in STEPS:
        rows[step.name] = run(step, small, rows, until)
        print(rows[step.name], flush=True)
        write_report(rows, small, time.monotonic() - began)
    passed = sum(row.outcome == "passed" for row in rows.values())
    minutes = (time.monotonic() - began) / 60
    print(f"\n{passed} of {len(rows)} steps passed, in {minutes:.1f} minutes")
    print(f"all numbers: {REPORT.resolve()}\nwhat the steps said: {LOG.resolve()}")
    if (found := measured(rows)) and not small:
        formats = ", ".join(f"{name}: {rounded(value)}" for name, value in found["tflops"].items())
        print(f"\nFor config.yaml, as measured on {rows['machine'].numbers['device']}:\n")
        ways = ", ".join(f"{name}: {rounded(value)}" for name, value in found["step_ms"].items())
        print(f"compute:\n  tflops: {{ {formats} }}\n  step_ms: {{ {ways} }}")
    sys.exit(passed < len(rows))


if __name__ == "__main__":
    main()
