"""Which key is next: ready keys wait in lines, which take turns, and none of which can use all workers.

A line is of one namespace and of one target that its keys refer to. Namespaces take turns, and in each its lines do. A
namespace, and a target whoever refers to it, may use only so many workers at once: what hangs or is too much delays
only its own, and leaves workers to the others. A line that has to wait is kept with what it waits for, so that
finding the next key takes no longer for thousands of lines than for one.
"""

from collections import Counter, deque
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T", bound=Hashable)


class Line(NamedTuple):
    """Whose a key is."""

    namespace: str
    target: Hashable


class Share(NamedTuple):
    """How many workers may be busy at once for one namespace, and for one target."""

    namespace: int
    target: int


class Turns(Generic[K]):
    """Ready keys of all lines; a key is put once until it is taken."""

    def __init__(self, line_of: Callable[[K], Line], share: Share) -> None:
        self._line_of = line_of
        self._share = share
        self._keys: dict[Line, deque[K]] = {}
        """Line -> its ready keys; no line is empty."""
        self._lines: dict[str, deque[Line]] = {}
        """Namespace -> its lines that do not wait for their target."""
        self._next: deque[str] = deque()
        """Namespaces that have such a line and may go."""
        self._held: set[str] = set()
        """Namespaces that have such a line and as many busy workers as they may."""
        self._parked: dict[Hashable, deque[Line]] = {}
        """Target -> lines that wait because it has as many busy workers as it may."""
        self._taken: dict[K, Line] = {}
        self._busy_namespaces: Counter[str] = Counter()
        self._busy_targets: Counter[Hashable] = Counter()

    def put(self, key: K) -> None:
        """Put a ready key at the end of its line."""
        line = self._line_of(key)
        if line in self._keys:
            self._keys[line].append(key)
            return
        self._keys[line] = deque([key])
        self._enter(line)

    def take(self) -> K | None:
        """Return the key whose turn it is, None when no ready key may have a worker."""
        while self._next:
            namespace = self._next.popleft()
            if self._busy_namespaces[namespace] >= self._share.namespace:
                self._held.add(namespace)
                continue
            lines = self._lines[namespace]
            line = lines.popleft()
            if self._busy_targets[line.target] >= self._share.target:
                self._parked.setdefault(line.target, deque()).append(line)
                if lines:
                    self._next.appendleft(namespace)  # it has not had its turn
                else:
                    del self._lines[namespace]
                continue
            return self._go(line)
        return None

    def done(self, key: K) -> None:
        """Release the lines that waited for a worker of this key."""
        namespace, target = self._taken.pop(key)
        _less(self._busy_namespaces, namespace)
        _less(self._busy_targets, target)
        if namespace in self._held:
            self._held.discard(namespace)
            self._next.append(namespace)
        parked = self._parked.get(target)
        while parked:
            line = parked.popleft()
            self._enter(line)
            if line.namespace not in self._held:
                break  # one worker, one line; those of a namespace that may not go wait with that
        if parked is not None and not parked:
            del self._parked[target]

    def _go(self, line: Line) -> K:
        keys, lines = self._keys[line], self._lines[line.namespace]
        key = keys.popleft()
        if keys:
            lines.append(line)
        else:
            del self._keys[line]
        if lines:
            self._next.append(line.namespace)
        else:
            del self._lines[line.namespace]
        self._taken[key] = line
        self._busy_namespaces[line.namespace] += 1
        self._busy_targets[line.target] += 1
        return key

    def _enter(self, line: Line) -> None:
        lines = self._lines.setdefault(line.namespace, deque())
        lines.append(line)
        if len(lines) == 1 and line.namespace not in self._held:
            self._next.append(line.namespace)


def _less(busy: Counter[T], of: T) -> None:
    busy[of] -= 1
    if not busy[of]:
        del busy[of]
