"""The supervisor starts, restarts and stops; nothing outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from gantry_embedded.errors import AlreadyRunning, NotReady
from gantry_embedded.process import ProcessSpec
from gantry_embedded.state import ChildState, StackState, boot_id, end_leftovers, is_running, read_state
from gantry_embedded.supervisor import Supervisor

SLEEP = "import time; time.sleep(600)"


def wait_until(condition: Callable[[], object], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def python(name: str, code: str, folder: Path, **settings) -> ProcessSpec:
    return ProcessSpec(
        name=name,
        argv=(sys.executable, "-c", code),
        log_file=folder / f"{name}.log",
        cwd=folder,
        env=dict(os.environ),
        **settings,
    )


def marks(name: str, folder: Path) -> str:
    """A program that notes its start and its orderly end in a common file."""
    return (
        "import os, signal, sys, time\n"
        f"log = lambda word: open({str(folder / 'order')!r}, 'a').write(word + ' {name}\\n')\n"
        "signal.signal(signal.SIGTERM, lambda *_: (log('stopped'), os._exit(0)))\n"
        f"log('started'); open({str(folder / name)!r}, 'w').close(); time.sleep(600)"
    )


def test_starts_in_order_and_stops_in_reverse(tmp_path: Path):
    supervisor = Supervisor(tmp_path / "state", lambda _: None)
    with supervisor.running():
        for name in ("first", "second", "third"):
            file = tmp_path / name
            supervisor.start(python(name, marks(name, tmp_path), tmp_path, ready=file.exists))
    assert (tmp_path / "order").read_text().split("\n")[:-1] == [
        "started first",
        "started second",
        "started third",
        "stopped third",
        "stopped second",
        "stopped first",
    ]


def test_writes_the_output_of_children_to_one_file_each(tmp_path: Path):
    supervisor = Supervisor(tmp_path / "state", lambda _: None)
    with supervisor.running():
        supervisor.run_once(python("hello", "print('hello there')", tmp_path))
    assert (tmp_path / "state/logs/hello.log").read_text() == "hello there\n"


def test_a_failing_start_names_the_program_and_its_last_words(tmp_path: Path):
    supervisor = Supervisor(tmp_path / "state", lambda _: None)
    spec = python("broken", "import sys; print('no such thing'); sys.exit(3)", tmp_path, ready=lambda: False)
    with pytest.raises(NotReady, match=r"broken ended with 3: .*no such thing"), supervisor.running():
        supervisor.start(spec)


def test_a_failing_program_to_run_once_is_an_error(tmp_path: Path):
    supervisor = Supervisor(tmp_path / "state", lambda _: None)
    with pytest.raises(NotReady, match="ended with 1"), supervisor.running():
        supervisor.run_once(python("migrate", "raise SystemExit(1)", tmp_path))


def test_restarts_what_crashed(tmp_path: Path):
    reports: list[str] = []
    supervisor = Supervisor(tmp_path / "state", reports.append)
    pids: list[int] = []

    def crash_and_watch() -> None:
        state = read_state(tmp_path / "state")
        assert state is not None
        pids.append(state.children[0].pid)
        os.kill(pids[0], signal.SIGKILL)

        def is_back() -> bool:
            state = read_state(tmp_path / "state")
            return (
                state is not None and state.children[0].restarts == 1 and state.children[0].state == "ready"
            )

        try:
            wait_until(is_back)
            state = read_state(tmp_path / "state")
            assert state is not None
            pids.append(state.children[0].pid)
        finally:
            supervisor.ask_to_stop()

    with supervisor.running():
        supervisor.start(python("sleeper", SLEEP, tmp_path))
        helper = threading.Thread(target=crash_and_watch)
        helper.start()
        supervisor.watch()
        helper.join()
    assert pids[0] != pids[1]
    assert reports[0].startswith("sleeper ended with -9; starting it again in 0.5 s")
    assert not is_alive(pids[1])


def test_back_off_grows_for_what_crashes_again_and_again(tmp_path: Path):
    reports: list[str] = []

    def note(text: str) -> None:
        if "ended" in text:
            reports.append(text)
        if len(reports) == 3:
            supervisor.ask_to_stop()

    supervisor = Supervisor(tmp_path / "state", note)
    with supervisor.running():
        supervisor.start(python("crasher", "import time; time.sleep(0.05)", tmp_path))
        supervisor.watch()
    assert [report.split(" in ")[1] for report in reports] == ["0.5 s", "1.0 s", "2.0 s"]


def test_a_child_that_ignores_the_stop_signal_is_killed_with_its_children(tmp_path: Path):
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(f'{{child.pid}}\\n'); time.sleep(600)"
    )
    supervisor = Supervisor(tmp_path / "state", lambda _: None)
    pid_file = tmp_path / "pid"
    with supervisor.running():
        supervisor.start(
            python(
                "deaf",
                code,
                tmp_path,
                grace_seconds=0.3,
                ready=lambda: pid_file.exists() and pid_file.read_text(),
            )
        )
        grandchild = int(pid_file.read_text())
        assert is_alive(grandchild)
    wait_until(lambda: not is_alive(grandchild))


def test_only_one_supervisor_works_in_a_folder(tmp_path: Path):
    first, second = (Supervisor(tmp_path / "state", lambda _: None) for _ in range(2))
    with first.running():
        assert is_running(tmp_path / "state")
        with pytest.raises(AlreadyRunning), second.running():
            pass
    assert not is_running(tmp_path / "state")


STACK = """
import sys
from pathlib import Path
from gantry_embedded.process import ProcessSpec
from gantry_embedded.supervisor import Supervisor
folder = Path(sys.argv[1])
script = "sleep 600 & echo $! > grandchild; wait"
supervisor = Supervisor(folder, print)
with supervisor.running():
    spec = ProcessSpec("sleeper", ("/bin/sh", "-c", script), folder / "x", folder,
                       ready=(folder / "grandchild").exists)
    supervisor.start(spec)
    supervisor.announce({"url": "http://example"})
    supervisor.watch()
print("orderly", flush=True)
"""


def start_stack(folder: Path) -> tuple[subprocess.Popen[str], StackState, int]:
    process = subprocess.Popen([sys.executable, "-c", STACK, str(folder)], stdout=subprocess.PIPE, text=True)

    def is_ready() -> bool:
        state = read_state(folder)
        return state is not None and state.ready and (folder / "grandchild").read_text().endswith("\n")

    wait_until(is_ready)
    state = read_state(folder)
    assert state is not None
    return process, state, int((folder / "grandchild").read_text())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_stack_in_order(tmp_path: Path, number: signal.Signals):
    process, state, grandchild = start_stack(tmp_path / "state")
    assert state.facts == {"url": "http://example"}
    process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    assert output.endswith("orderly\n")
    assert not is_alive(state.children[0].pid)
    wait_until(lambda: not is_alive(grandchild))
    assert not is_running(tmp_path / "state")


def test_nothing_outlives_a_killed_supervisor(tmp_path: Path):
    process, state, grandchild = start_stack(tmp_path / "state")
    process.kill()
    process.communicate()
    wait_until(lambda: not is_alive(state.children[0].pid) and not is_alive(grandchild))
    assert not is_running(tmp_path / "state")


def test_leftovers_are_found_by_their_session_though_their_leader_is_gone(tmp_path: Path):
    leader_code = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEP!r}]).pid)"
    leader = subprocess.Popen(
        [sys.executable, "-c", leader_code], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert leader.stdout is not None
    created = psutil.Process(leader.pid).create_time()
    orphan = int(leader.stdout.readline())
    leader.wait()
    child = ChildState("service", leader.pid, created, "ready")
    earlier = StackState(1, "another boot", ready=True, children=(child,))
    assert end_leftovers(earlier) == []
    assert is_alive(orphan)
    assert end_leftovers(StackState(1, boot_id(), ready=True, children=(child,))) == ["service"]
    wait_until(lambda: not is_alive(orphan))


def test_a_stranger_with_a_number_used_again_is_left_alone(tmp_path: Path):
    stranger = subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True)
    try:
        child = ChildState("service", stranger.pid, time.time() - 3600, "ready")
        assert end_leftovers(StackState(1, boot_id(), ready=True, children=(child,))) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
