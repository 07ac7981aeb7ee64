"""Maximum flow by Dinic's algorithm, with whole numbers."""

from collections import deque
from collections.abc import Collection


class Network:
    """Nodes are numbered from 0; an edge and the way back along it stand side by side."""

    def __init__(self, nodes: int) -> None:
        self._leaving: list[list[int]] = [[] for _ in range(nodes)]
        self._target: list[int] = []
        self._room: list[int] = []

    def edge(self, start: int, end: int, capacity: int) -> int:
        """Add an edge; returns its number."""
        number = len(self._target)
        self._target += [end, start]
        self._room += [capacity, 0]
        self._leaving[start].append(number)
        self._leaving[end].append(number + 1)
        return number

    def widen(self, edge: int, capacity: int) -> None:
        """Give an edge more room."""
        self._room[edge] += capacity

    def used(self, edge: int) -> int:
        """The flow along an edge."""
        return self._room[edge ^ 1]

    def fill(self, source: int, sink: int) -> int:
        """Send what still goes from source to sink; returns how much that is."""
        sent = 0
        while levels := self._levels(source, sink):
            waiting = [0] * len(self._leaving)
            while path := self._path(source, sink, levels, waiting):
                least = min(self._room[edge] for edge in path)
                for edge in path:
                    self._room[edge] -= least
                    self._room[edge ^ 1] += least
                sent += least
        return sent

    def _levels(self, source: int, sink: int) -> list[int] | None:
        levels = [-1] * len(self._leaving)
        levels[source] = 0
        queue = deque([source])
        while queue:
            node = queue.popleft()
            for edge in self._leaving[node]:
                end = self._target[edge]
                if self._room[edge] and levels[end] < 0:
                    levels[end] = levels[node] + 1
                    queue.append(end)
        return levels if levels[sink] >= 0 else None

    def _path(self, source: int, sink: int, levels: list[int], waiting: list[int]) -> list[int]:
        """A way through the levels; ``waiting`` is the next edge to try of each node."""
        path: list[int] = []
        node = source
        while node != sink:
            if waiting[node] < len(self._leaving[node]):
                edge = self._leaving[node][waiting[node]]
                end = self._target[edge]
                if self._room[edge] and levels[end] == levels[node] + 1:
                    path.append(edge)
                    node = end
                else:
                    waiting[node] += 1
            elif path:
                node = self._target[path.pop() ^ 1]
                waiting[node] += 1
            else:
                return []
        return path

    def reachable(self, start: int, without: Collection[int] = ()) -> set[int]:
        """The nodes to which more could flow from this one, never through some."""
        return self._closure(start, 0, without)

    def reaching(self, end: int, without: Collection[int] = ()) -> set[int]:
        """The nodes from which more could flow to this one, never through some."""
        return self._closure(end, 1, without)

    def _closure(self, start: int, back: int, without: Collection[int]) -> set[int]:
        found = {start}
        queue = [start]
        while queue:
            for edge in self._leaving[queue.pop()]:
                end = self._target[edge]
                if self._room[edge ^ back] and end not in found and end not in without:
                    found.add(end)
                    queue.append(end)
        return found
