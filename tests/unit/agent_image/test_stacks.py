"""Looking at the stacks of other threads never hangs a worker."""

import gc
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
    looks, inside, goes_on = [], threading.Event(), threading.Event()

    def look() -> dict[int, int]:
        looks.append(gc.isenabled())
        if len(looks) == 1:
            inside.set()
            goes_on.wait(10)
        return {}

    safely = without_collection(look)
    threads = [threading.Thread(target=safely) for _ in range(2)]
    threads[0].start()
    assert inside.wait(10)
    threads[1].start()
    goes_on.set()
    for thread in threads:
        thread.join(10)
    assert looks == [False, False]
    assert gc.isenabled()


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
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.stdout.strip() == "done", ended.stderr


def test_protecting_twice_is_protecting_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_current_frames", sys._current_frames)
    protect()
    once = sys._current_frames
    protect()
    assert sys._current_frames is once
    assert threading.get_ident() in once()
