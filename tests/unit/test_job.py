"""How an entry script ends: what it says, where, and with which exit code."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"


def run(code: str, log: Path, options: str = "") -> subprocess.CompletedProcess:
    """`code` stands within the job."""
    script = (
        "from types import SimpleNamespace\n"
        "from maskedsae.jobs.entry import job\n"
        "from maskedsae.jobs.errors import InputError\n"
        f"with job(SimpleNamespace(log=[{str(log)!r}], resources={{}}){options}) as entry:\n"
    )
    script += "".join(f"    {line}\n" for line in code.splitlines())
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)


def test_what_a_user_can_mend_is_one_line_without_a_traceback(tmp_path):
    log = tmp_path / "a" / "b.log"
    done = run("raise InputError('l0: 9000 is too large: lower it')", log)
    assert done.returncode == 1
    assert done.stderr == log.read_text()
    assert done.stderr.splitlines()[0].endswith(" error: l0: 9000 is too large: lower it")
    assert len(done.stderr.splitlines()) == 1


def test_another_error_keeps_its_traceback_in_the_log(tmp_path):
    done = run("[][0]", tmp_path / "b.log")
    assert done.returncode == 1
    assert "IndexError: list index out of range" in (tmp_path / "b.log").read_text()


def test_an_import_that_fails_is_in_the_log_too(tmp_path):
    done = run("import no_such_package", tmp_path / "b.log")
    assert done.returncode == 1
    assert "No module named 'no_such_package'" in (tmp_path / "b.log").read_text()


def test_entries_import_the_library_within_their_job():
    """But for what the job itself is: so the test above holds of each of them."""
    entries = sorted(SCRIPTS.glob("*.py"))
    assert len(entries) > 15
    for path in entries:
        before, within = re.split(r"with job\(snakemake(?:, fetches=True)?\) as entry:", path.read_text())
        imports = [line for line in before.splitlines() if line.startswith(("import", "from"))]
        assert imports == ["from maskedsae.jobs.entry import job"], path
        assert "    from maskedsae." in within, path


def test_only_a_job_that_fetches_may_ask_the_hub(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    code = "from huggingface_hub import is_offline_mode\nfrom datasets import config\n"
    code += "print(is_offline_mode(), config.HF_HUB_OFFLINE)"
    assert run(code, tmp_path / "b.log").stdout == "True True\n"
    assert run(code, tmp_path / "b.log", ", fetches=True").stdout == "False False\n"
    fetching = {path.stem for path in SCRIPTS.glob("*.py") if "fetches=True" in path.read_text()}
    assert fetching == {"model", "tokens", "saebench_data", "publish", "published", "fetch_sae"}


def test_lines_go_to_the_log_and_to_the_terminal(tmp_path):
    done = run("from maskedsae.jobs.log import log\nlog.info('half way')", tmp_path / "b.log")
    assert done.returncode == 0
    assert "half way" in done.stderr and "half way" in (tmp_path / "b.log").read_text()


def test_sigterm_releases_what_is_held(tmp_path):
    """As a cluster stops a job: leases are files, and must not stay."""
    code = (
        "import os, signal\nfrom maskedsae.jobs.leases import Lease\n"
        f"with Lease({str(tmp_path / 'cell')!r}):\n    os.kill(os.getpid(), signal.SIGTERM)\n    signal.pause()"
    )
    done = run(code, tmp_path / "b.log")
    assert done.returncode not in (0, -signal.SIGTERM)
    assert list((tmp_path / "cell").iterdir()) == []
