"""Looking at the stacks of other threads never hangs a worker."""

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from voice_agent.runner.stacks import protect, without_collection


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


def test_nothing_is_collected_during_a_look() -> None:
    seen = []

    def look() -> dict[int, int]:
        seen.append(gc.isenabled())
        return {1: 2}

    assert without_collection(look)() == {1: 2}
    assert seen == [False]
    assert gc.isenabled()


def test_collection_goes_on_after_a_failure() -> None:
    def look() -> dict[int, int]:
        raise MemoryError

    with pytest.raises(MemoryError):
        without_collection(look)()
    assert gc.isenabled()


def test_collection_that_was_off_stays_off() -> None:
    gc.disable()
    without_collection(dict)()
    assert not gc.isenabled()


def test_a_second_look_at_the_same_time_waits_for_the_first() -> None:
    inside, second_began = threading.Event(), threading.Event()
    looks: list[bool] = []

    def look() -> dict[int, int]:
        if not inside.is_set():
            inside.set()
            second_began.wait(10)
        else:
            first.join(10)  # were it let in beside the first, collection would be on again after this
        looks.append(gc.isenabled())
        return {}

    safely = without_collection(look)

    def second_look() -> None:
        inside.wait(10)
        second_began.set()
        safely()

    first, second = threading.Thread(target=safely), threading.Thread(target=second_look)
    second.start()
    first.start()
    second.join(20)
    assert looks == [False, False]
    assert gc.isenabled()


def test_a_process_forked_meanwhile_can_look_too() -> None:
    inside, forking = threading.Event(), threading.Event()

    def look() -> dict[int, int]:
        inside.set()
        forking.wait(10)
        return {}

    safely = without_collection(look)
    os.register_at_fork(before=forking.set)  # what was registered last is called first
    looking = threading.Thread(target=safely)
    looking.start()
    assert inside.wait(10)
    child = os.fork()
    if child == 0:
        signal.alarm(5)
        safely()
        os._exit(0 if gc.isenabled() else 1)
    assert os.waitpid(child, 0)[1] == 0
    looking.join(10)


# Collects often, and with callbacks that give way to other threads, while several look: without protection this
# hangs within a second.
_BUSY = """
import gc, sys, threading, time, weakref
from voice_agent.runner.stacks import protect
if "protected" in sys.argv:
    protect()
gc.set_threshold(1)
class Node: pass
def work(deadline):
    while time.monotonic() < deadline:
        node = Node()
        node.itself = node
        weakref.finalize(node, time.sleep, 0)
        del node
        sys._current_frames()
ends = time.monotonic() + 0.5
threads = [threading.Thread(target=work, args=(ends,)) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done")
"""


def test_threads_that_look_at_each_other_while_much_is_collected_all_go_on() -> None:
    command = [sys.executable, "-c", _BUSY, "protected"]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert ended.stdout.strip() == "done", ended.stderr


def test_protecting_twice_is_protecting_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_current_frames", sys._current_frames)
    protect()
    once = sys._current_frames
    protect()
    assert sys._current_frames is once
    assert threading.get_ident() in once()
