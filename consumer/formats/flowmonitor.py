"""ns-3's FlowMonitor: what happened to the packets of each flow.

Source: ns-3's ``flow-monitor.cc``, ``ipv4-flow-classifier.cc`` and ``histogram.cc`` (``SerializeToXmlStream``).

A flow is one direction of a five-tuple, so that a TCP connection is two of them, and the messages of a routing protocol
are flows, too. Three kinds are told apart, since a mean over all of them says nothing: data, what only acknowledges it,
and signalling. The file holds sums; means and rates are derived here. Who talks to whom stands at the end of the file:
it is read twice.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, ClassVar

from consumer.formats.contract import Run, Sink, Statistic
from consumer.formats.xml_elements import read_elements, root_of

ROOT = "FlowMonitor"
DATA, RETURN, SIGNALLING, UNKNOWN = "dataFlow", "returnFlow", "signallingFlow", "flow"
KINDS = {
    DATA: "data flows",
    RETURN: "return flows (TCP acknowledgements)",
    SIGNALLING: "signalling flows (routing, DHCP, ICMP)",
    UNKNOWN: "flows without addresses",
}
LARGEST_ACKNOWLEDGEMENT = 100  # bytes: IPv6 and TCP headers with all options; data makes the mean larger
# RIP and RIPng, OLSR, AODV, DSDV as ns-3 has it, DHCP for IPv4 and IPv6.
SIGNALLING_PORTS = frozenset({"520", "521", "698", "654", "269", "67", "68", "546", "547"})
MOST_NAMES = 200_000  # flows whose addresses are kept
MOST_BINS = 20_000  # of a histogram
_TIME = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(fs|ps|ns|us|ms|s|min|h|d)")
_PER_SECOND = {
    "fs": 1e15, "ps": 1e12, "ns": 1e9, "us": 1e6, "ms": 1e3, "s": 1.0, "min": 1 / 60, "h": 1 / 3600, "d": 1 / 86400,
}  # fmt: skip
_PROTOCOLS = {"1": "ICMP", "6": "TCP", "17": "UDP", "58": "ICMPv6"}
_REASONS = {
    "0": "no route", "1": "TTL expired", "2": "bad checksum", "3": "queue", "4": "queue disc", "5": "interface down",
    "6": "route error",
}  # fmt: skip
_COUNTS = {
    "txPackets": "packets sent",
    "rxPackets": "packets received",
    "txBytes": "bytes sent, IP headers included",
    "rxBytes": "bytes received, IP headers included",
    "lostPackets": "packets missing for 10 s; fewer than sent - received",
    "timesForwarded": "how often packets were forwarded",
}
_TIMES = {
    "timeFirstTxPacket": "first packet sent",
    "timeLastTxPacket": "last packet sent",
    "timeFirstRxPacket": "first packet received",
    "timeLastRxPacket": "last packet received",
}
_HISTOGRAMS = {
    "delayHistogram": ("delay", "s"),
    "jitterHistogram": ("jitter", "s"),
    "packetSizeHistogram": ("packetSize", "B"),
    "flowInterruptionsHistogram": ("interruption", "s"),
}


class FlowMonitor:
    """Files that ``FlowMonitor::SerializeToXmlFile`` writes, under any name."""

    name: ClassVar[str] = "ns-3 FlowMonitor"

    def recognises(self, head: bytes) -> bool:
        """By the root element."""
        return root_of(head)[0] == ROOT

    def read(self, stream: BinaryIO, sink: Sink) -> None:
        """Read who talks to whom, then the flows."""
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        names = _Names()
        read_elements(stream, names, lambda offset: sink.at(offset // 2))
        stream.seek(0)
        sink.run(Run(id="", simulator="ns-3"))
        flows = _Flows(sink, names)
        stopped = read_elements(stream, flows, lambda offset: sink.at((size + offset) // 2))
        if stopped:
            stopped.tell(sink)
        if names.full:
            sink.warning(f"There are more than {MOST_NAMES} flows: the others go without addresses.")
        flows.finish()


class _Names:
    """First reading: the flows' addresses, and how large their packets are."""

    def __init__(self) -> None:
        self.full = False
        self._names: dict[str, str] = {}
        self._sizes: dict[str, float] = {}  # of a packet, in bytes, by the flow's name
        self._by_id: dict[str, float] = {}

    def start(self, path: tuple[str, ...], attributes: Mapping[str, str], _line: int) -> None:
        if path[1:] == ("FlowStats", "Flow") and len(self._by_id) < MOST_NAMES:
            sent, size = _plain(attributes.get("txPackets", "")), _plain(attributes.get("txBytes", ""))
            self._by_id[attributes.get("flowId", "?")[:20]] = _ratio(size, sent)
        if len(path) != 3 or path[1] not in {"Ipv4FlowClassifier", "Ipv6FlowClassifier"} or path[2] != "Flow":
            return
        if len(self._names) >= MOST_NAMES:
            self.full = True
            return
        get = attributes.get
        protocol = get("protocol", "?")
        pattern = "{}:{}" if path[1] == "Ipv4FlowClassifier" else "[{}]:{}"
        source = pattern.format(get("sourceAddress", "?"), get("sourcePort", "?"))
        destination = pattern.format(get("destinationAddress", "?"), get("destinationPort", "?"))
        name = f"{source} > {destination} {_PROTOCOLS.get(protocol, f'protocol {protocol}')}"[:200]
        flow = get("flowId", "?")[:20]
        self._names[flow] = name
        self._sizes[name] = self._by_id.get(flow, math.nan)

    def end(self, path: tuple[str, ...]) -> None:
        """Nothing to do."""

    def comment(self, text: str) -> None:
        """Nothing to do."""

    def module(self, flow: str) -> str:
        """``dataFlow[1] 10.1.1.1:49153 > 10.1.3.2:9 UDP``."""
        return f"{self.kind(flow)}[{flow}] {self._names.get(flow, '')}".rstrip()

    def kind(self, flow: str) -> str:
        """What a flow is for: data unless its protocol, its ports or the flow in the other direction say otherwise."""
        name = self._names.get(flow)
        if name is None:
            return UNKNOWN
        source, _, rest = name.partition(" > ")
        destination, _, protocol = rest.partition(" ")
        if protocol in {"ICMP", "ICMPv6"}:
            return SIGNALLING
        if protocol == "UDP" and not SIGNALLING_PORTS.isdisjoint(
            end.rpartition(":")[2] for end in (source, destination)
        ):
            return SIGNALLING
        own, other = self._sizes[name], self._sizes.get(f"{destination} > {source} {protocol}", math.nan)
        return RETURN if protocol == "TCP" and own <= LARGEST_ACKNOWLEDGEMENT and own < other else DATA

    def is_ipv4(self, flow: str) -> bool:
        return flow in self._names and not self._names[flow].startswith("[")


@dataclass
class _Flow:
    """What the file says of one flow."""

    id: str
    line: int
    attributes: Mapping[str, str]
    dropped: list[tuple[str, str, str]] = field(default_factory=list)  # element, code, number
    bins: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)  # element: start, width, count


class _Total:
    """What flows of one kind have together."""

    def __init__(self) -> None:
        self.flows = self.silent = 0
        self.counts = dict.fromkeys(_COUNTS, 0.0)
        self.delay = self.jitter = self.differences = 0.0
        self.begin, self.end = math.inf, -math.inf

    def add(self, counts: Mapping[str, float], times: Mapping[str, float]) -> None:
        """Take a flow."""
        received = counts["rxPackets"]
        self.flows += 1
        self.silent += received == 0
        for name, value in counts.items():
            self.counts[name] += value
        self.delay += times["delaySum"]
        self.jitter += times["jitterSum"]
        self.differences += max(received - 1, 0)
        self.begin = min(self.begin, times["timeFirstTxPacket"])
        if received > 0:
            self.end = max(self.end, times["timeLastRxPacket"])


class _Flows:
    """Second reading: a flow is told when its element ends."""

    def __init__(self, sink: Sink, names: _Names) -> None:
        self._sink = sink
        self._names = names
        self._flow: _Flow | None = None
        self._totals: dict[str, _Total] = {}  # by kind
        self._probe: tuple[str, float, float] | None = None  # index, packets, bytes

    def start(self, path: tuple[str, ...], attributes: Mapping[str, str], line: int) -> None:
        match path[1:]:
            case ("FlowStats", "Flow"):
                self._flow = _Flow(attributes.get("flowId", "?")[:20], line, attributes)
            case ("FlowStats", "Flow", "packetsDropped"):
                self._drop("packetsDropped", attributes, "number", line)
            case ("FlowStats", "Flow", "bytesDropped"):
                self._drop("bytesDropped", attributes, "bytes", line)
            case ("FlowStats", "Flow", histogram, "bin") if histogram in _HISTOGRAMS:
                self._bin(histogram, attributes, line)
            case ("FlowProbes", "FlowProbe"):
                self._probe = attributes.get("index", "?")[:20], 0.0, 0.0
            case ("FlowProbes", "FlowProbe", "FlowStats") if self._probe:
                index, packets, size = self._probe
                packets += self._number(attributes, "packets", line)
                size += self._number(attributes, "bytes", line)
                self._probe = index, packets, size

    def end(self, path: tuple[str, ...]) -> None:
        if path[1:] == ("FlowStats", "Flow") and self._flow:
            flow, self._flow = self._flow, None
            self._tell(flow)
        elif path[1:] == ("FlowProbes", "FlowProbe") and self._probe:
            (index, packets, size), self._probe = self._probe, None
            if packets:
                module = f"probe[{index}]"
                self._scalar(module, "packets", packets, "pk", "packets of all flows seen here")
                self._scalar(module, "bytes", size, "B", "bytes of all flows seen here")

    def comment(self, text: str) -> None:
        """Nothing to do."""

    def finish(self) -> None:
        """What the flows of each kind have together; the headline is that of the data."""
        if not self._totals:
            self._scalar("flows", "flows", 0, "", "none was seen")
        headline = next((kind for kind in (DATA, UNKNOWN) if kind in self._totals), "")
        for kind in sorted(self._totals, key=list(KINDS).index):
            self._tell_total(KINDS[kind], self._totals[kind], headline=kind == headline)

    def _tell_total(self, module: str, total: _Total, *, headline: bool) -> None:
        told = total.counts
        sent, received = told["txPackets"], told["rxPackets"]
        self._scalar(module, "flows", total.flows, "", "one direction of a connection each")
        self._scalar(module, "undelivered", total.silent, "", "flows of which no packet was received")
        for name, title in _COUNTS.items():
            first = headline and name in {"txPackets", "rxPackets"}
            self._scalar(module, name, told[name], _unit(name), f"{title}, all together", headline=first)
        of = {"headline": headline}
        title = "sent - received, packets under way at the end included"
        self._scalar(module, "missingPackets", sent - received, "pk", title, **of)
        self._scalar(module, "lossRatio", _ratio(sent - received, sent), "", "(sent - received) / sent", **of)
        span = total.end - total.begin
        rate = 0.0 if sent > 0 and received == 0 else _ratio(8 * told["rxBytes"], span)
        title = "8 rxBytes / (last received - first sent), all flows together, IP bytes"
        self._scalar(module, "throughput", rate, "bit/s", title, **of)
        delay, jitter = _ratio(total.delay, received), _ratio(total.jitter, total.differences)
        self._scalar(module, "delay:mean", delay, "s", "delay per packet received, of all flows", **of)
        title = "difference of delay between one packet of a flow and the next, of all flows"
        self._scalar(module, "jitter:mean", jitter, "s", title, **of)

    def _drop(self, element: str, attributes: Mapping[str, str], name: str, line: int) -> None:
        if self._flow is None:
            return
        if len(self._flow.dropped) >= 2 * 64:
            self._sink.warning("A flow has more reasons for dropped packets than there are: not read.", line)
            return
        self._flow.dropped.append((element, attributes.get("reasonCode", "?")[:20], attributes.get(name, "")))

    def _bin(self, histogram: str, attributes: Mapping[str, str], line: int) -> None:
        if self._flow is None:
            return
        bins = self._flow.bins.setdefault(histogram, [])
        if len(bins) >= MOST_BINS:
            self._sink.warning(f"A histogram has more than {MOST_BINS} bins: the others were not read.", line)
            return
        values = [self._number(attributes, name, line) for name in ("start", "width", "count")]
        if all(math.isfinite(value) for value in values):
            bins.append((values[0], values[1], values[2]))

    def _tell(self, flow: _Flow) -> None:
        module = self._names.module(flow.id)
        counts = {name: self._number(flow.attributes, name, flow.line) for name in _COUNTS}
        times = {name: self._time(flow, name) for name in (*_TIMES, "delaySum", "jitterSum")}
        sent, received = counts["txPackets"], counts["rxPackets"]
        self._totals.setdefault(self._names.kind(flow.id), _Total()).add(counts, times)
        for name, value in counts.items():
            self._scalar(module, name, value, _unit(name), _COUNTS[name])
        for name, title in _TIMES.items():
            none = (sent if "Tx" in name else received) == 0
            self._scalar(module, name, math.nan if none else times[name], "s", title)
        self._scalar(module, "lossRatio", _ratio(sent - received, sent), "", "(sent - received) / sent")
        span = times["timeLastRxPacket"] - times["timeFirstTxPacket"]
        rate = 0.0 if sent > 0 and received == 0 else _ratio(8 * counts["rxBytes"], span)
        self._scalar(module, "throughput", rate, "bit/s", "8 rxBytes / (last received - first sent), IP bytes")
        delay, jitter = _ratio(times["delaySum"], received), _ratio(times["jitterSum"], received - 1)
        self._scalar(module, "delay:mean", delay, "s", "delaySum / rxPackets")
        self._scalar(module, "jitter:mean", jitter, "s", "jitterSum / (rxPackets - 1)")
        extremes = {"delay:min": "minDelay", "delay:max": "maxDelay", "delay:last": "lastDelay"}
        for name, attribute in extremes.items():
            if attribute in flow.attributes:
                value = self._time(flow, attribute) if received > 0 else math.nan
                self._scalar(module, name, value, "s", attribute)
        for element, code, number in flow.dropped:
            value = self._number({element: number}, element, flow.line)
            unit = "pk" if element == "packetsDropped" else "B"
            self._scalar(module, f"{element}:{self._reason(flow.id, code)}", value, unit, f"reason {code}")
        self._histograms(flow, module, received, times)

    def _histograms(self, flow: _Flow, module: str, received: float, times: Mapping[str, float]) -> None:
        for element, found in flow.bins.items():
            name, unit = _HISTOGRAMS[element]
            fields = {"count": math.fsum(count for _, _, count in found)}
            if name == "delay":
                fields |= {"sum": times["delaySum"], "mean": _ratio(times["delaySum"], received)}
                fields |= {"min": self._time(flow, "minDelay"), "max": self._time(flow, "maxDelay")}
            elif name == "jitter":
                fields |= {"sum": times["jitterSum"], "mean": _ratio(times["jitterSum"], received - 1)}
            elif name == "packetSize":
                size = self._number(flow.attributes, "rxBytes", flow.line)
                fields |= {"sum": size, "mean": _ratio(size, received)}
            self._sink.statistic(Statistic(module, name, fields, _filled(found), {"unit": unit}))

    def _reason(self, flow: str, code: str) -> str:
        if code == "7" and self._names.is_ipv4(flow):
            return "fragment timeout"
        return _REASONS.get(code, f"code {code}")

    def _scalar(self, module: str, name: str, value: float, unit: str, title: str, *, headline: bool = False) -> None:
        attributes = {"unit": unit, "title": title, "headline": "yes" if headline else ""}
        self._sink.scalar(module, name, value, {key: text for key, text in attributes.items() if text})

    def _number(self, attributes: Mapping[str, str], name: str, line: int) -> float:
        try:
            return float(attributes[name].replace("_", "?"))  # which Python's own numbers may hold
        except KeyError:
            return math.nan
        except ValueError:
            self._sink.warning(f"The attribute {name} is no number: taken as no value.", line)
            return math.nan

    def _time(self, flow: _Flow, name: str) -> float:
        """Seconds; NaN where the file has none. What ns-3 writes for "none", the largest time there is, passes."""
        text = flow.attributes.get(name)
        if text is None:
            return math.nan
        match = _TIME.fullmatch(text)
        if match is None:
            self._sink.warning(f"The attribute {name} is no time: taken as no value.", flow.line)
            return math.nan
        return float(match.group(1)) / _PER_SECOND[match.group(2)]


def _plain(text: str) -> float:
    try:
        return float(text.replace("_", "?"))
    except ValueError:
        return math.nan


def _unit(name: str) -> str:
    return "B" if name.endswith("Bytes") else "pk" if name.endswith("Packets") else ""


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0 else math.nan


def _filled(found: list[tuple[float, float, float]]) -> tuple[tuple[float, float], ...]:
    """The bins with those between them that hold nothing, which ns-3 leaves out, and the end of the last one."""
    bins: list[tuple[float, float]] = []
    end = math.inf
    for start, width, count in sorted(found):
        if bins and start - end > width / 2:  # six digits are written: neighbours need not meet
            bins.append((end, 0.0))
        bins.append((start, count))
        end = start + width
    return (*bins, (end, 0.0)) if bins else ()
