"""A private RabbitMQ cluster of three nodes on this machine, joined as an operator joins them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from tests.support.installation import ROOT
from tests.support.nodes import RabbitNode
from tests.support.pages import blocks, type_at

SIZE = 3
CONFIG = "cluster_partition_handling = pause_minority\n"


class RabbitCluster:
    """Three nodes; whoever kills one starts it again.

    Args:
        joined: how many of them are joined at the start.

    Raises:
        MissingBinary: RabbitMQ is not installed.
    """

    def __init__(self, joined: int = SIZE) -> None:
        self._joined = joined
        first = RabbitNode(CONFIG)
        self.nodes = [first, *(RabbitNode(CONFIG, beside=first) for _ in range(SIZE - 1))]

    @property
    def url(self) -> str:
        """The address of all of them."""
        place = f"127.0.0.1:{self.nodes[0].port}"
        return self.nodes[0].url.replace(place, ",".join(f"127.0.0.1:{node.port}" for node in self.nodes))

    def join(self, node: RabbitNode) -> None:
        """Type at this node what the page on clusters says."""
        join, _grow = blocks("docs/cluster.md", "RabbitMQ")
        type_at(node.environ, ROOT, join, {"rabbit@one": self.nodes[0].name})

    def leader(self, queue: str) -> RabbitNode:
        """The node that leads a quorum queue at the moment."""
        name = self._told(queue, "leader")
        return next(node for node in self.nodes if node.name == name)

    def members(self, queue: str) -> int:
        """How many nodes hold a quorum queue."""
        return self._told(queue, "members").count("@")

    def online(self, queue: str) -> int:
        """How many of these are there at the moment."""
        return self._told(queue, "online").count("@")

    def _told(self, queue: str, what: str) -> str:
        node = next(node for node in self.nodes if node.runs)
        lines = [line.split("\t") for line in node.ctl("list_queues", "--silent", "name", what).splitlines()]
        return next(value for name, value in lines if name == queue)

    def __enter__(self) -> Self:
        try:
            with ThreadPoolExecutor(SIZE) as threads:
                list(threads.map(RabbitNode.start, self.nodes))
            for node in self.nodes[1 : self._joined]:
                self.join(node)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all of it; the port mapper goes with the first node, so that one is the last."""
        for node in reversed(self.nodes):
            node.close()
