"""A child that reads strangers' files: no network where the kernel allows it, limited memory, and it dies with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from work_kit.child import command, confined_command

ROOT = Path(__file__).resolve().parents[2]


def run(tmp_path: Path, program: str, *, confined: bool) -> str:
    (tmp_path / "probe_program.py").write_text(textwrap.dedent(program))
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    line = (confined_command if confined else command)("probe_program")
    done = subprocess.run(
        line,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stdout.strip() + done.stderr.strip()[-300:]


def kernel_allows_it() -> bool:
    program = "import sys; from work_kit.child import leave_network; sys.exit(0 if leave_network() else 1)"
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


CONNECT = """
    import socket
    server = socket.socket(); server.bind(("127.0.0.1", 0)); server.listen()
    try:
        socket.create_connection(server.getsockname(), timeout=2)
        print("connected")
    except OSError:
        print("no network")
"""


def test_a_confined_child_reaches_nothing_not_even_this_machine(tmp_path):
    if not kernel_allows_it():
        pytest.skip("this kernel gives no network namespaces to plain users")
    assert run(tmp_path, CONNECT, confined=True) == "no network"


def test_another_child_has_its_network(tmp_path):
    assert run(tmp_path, CONNECT, confined=False) == "connected"


def test_a_confined_child_is_the_same_user_and_writes_its_files(tmp_path):
    program = f"""
        import os
        open({str(tmp_path / "out")!r}, "w").write("x")
        print(os.geteuid())
    """
    assert run(tmp_path, program, confined=True) == str(os.geteuid())
    assert (tmp_path / "out").stat().st_uid == os.geteuid()


def test_memory_without_end_is_refused(tmp_path):
    program = """
        try:
            bytearray(20 * 2**30)
        except MemoryError:
            print("refused")
    """
    assert run(tmp_path, program, confined=True) == "refused"


def test_a_confined_child_dies_with_its_parent(tmp_path):
    (tmp_path / "sleeper.py").write_text("import time; print('here', flush=True); time.sleep(60)")
    starter = (
        "import subprocess, sys; from work_kit.child import confined_command;"
        "child = subprocess.Popen(confined_command('sleeper'), stdout=subprocess.PIPE, text=True);"
        "child.stdout.readline(); print(child.pid, flush=True); child.wait()"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    parent = subprocess.Popen([sys.executable, "-c", starter], env=environment, stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 5
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "it outlives its parent"
        time.sleep(0.05)
