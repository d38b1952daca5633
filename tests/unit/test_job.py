"""How an entry script ends: what it says, where, and with which exit code."""

import os
import signal
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"


def run(code: str) -> subprocess.CompletedProcess:
    script = f"from maskedsae.jobs.entry import job, log\nfrom maskedsae.jobs.errors import InputError\n{code}"
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)


def test_what_a_user_can_mend_is_one_line_without_a_traceback(tmp_path):
    code = "with job(r'%s'):\n    raise InputError('l0: 9000 is too large: lower it')" % (tmp_path / "a" / "b.log")
    done = run(code)
    assert done.returncode == 1
    assert done.stderr == (tmp_path / "a" / "b.log").read_text()
    assert done.stderr.splitlines()[0].endswith(" error: l0: 9000 is too large: lower it")
    assert len(done.stderr.splitlines()) == 1


def test_another_error_keeps_its_traceback_in_the_log(tmp_path):
    done = run("with job(r'%s'):\n    [][0]" % (tmp_path / "b.log"))
    assert done.returncode == 1
    assert "IndexError: list index out of range" in (tmp_path / "b.log").read_text()


def test_lines_go_to_the_log_and_to_the_terminal(tmp_path):
    done = run("with job(r'%s'):\n    log.info('half way')" % (tmp_path / "b.log"))
    assert done.returncode == 0
    assert "half way" in done.stderr and "half way" in (tmp_path / "b.log").read_text()


def test_sigterm_releases_what_is_held(tmp_path):
    """As a cluster stops a job: leases are files, and must not stay."""
    code = (
        f"import os, signal\nfrom maskedsae.jobs.leases import Lease\nwith job(r'{tmp_path / 'b.log'}'), "
        f"Lease(r'{tmp_path / 'cell'}'):\n    os.kill(os.getpid(), signal.SIGTERM)\n    signal.pause()"
    )
    done = run(code)
    assert done.returncode not in (0, -signal.SIGTERM)
    assert list((tmp_path / "cell").iterdir()) == []
