"""ns-3 FlowMonitor: what is derived from the sums of a flow, and what is made of damaged files."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.formats.flowmonitor import FlowMonitor
from consumer.statistics.binned import statistic_row
from tests.support.formats import Remembered, read

FILE = b"""<?xml version="1.0" ?>
<FlowMonitor>
  <FlowStats>
    <Flow flowId="1" timeFirstTxPacket="+2e+09ns" timeFirstRxPacket="+2.5e+09ns" timeLastTxPacket="+9e+09ns" \
timeLastRxPacket="+1e+10ns" delaySum="+4e+08ns" jitterSum="+9e+07ns" lastDelay="+1.1e+07ns" maxDelay="+2.6e+08ns" \
minDelay="+1e+07ns" txBytes="20800" rxBytes="10400" txPackets="20" rxPackets="10" lostPackets="7" timesForwarded="41">
      <packetsDropped reasonCode="3" number="6" />
      <bytesDropped reasonCode="3" bytes="6240" />
      <packetsDropped reasonCode="7" number="1" />
      <delayHistogram nBins="266" >
        <bin index="11" start="0.011" width="0.001" count="8" />
        <bin index="12" start="0.012" width="0.001" count="1" />
        <bin index="259" start="0.259" width="0.001" count="1" />
      </delayHistogram>
      <jitterHistogram nBins="0" >
      </jitterHistogram>
    </Flow>
    <Flow flowId="2" timeFirstTxPacket="+20067198.0ns" timeFirstRxPacket="+0.0ns" timeLastTxPacket="+20067198.0ns" \
timeLastRxPacket="+0.0ns" delaySum="+0.0ns" jitterSum="+0.0ns" lastDelay="+0.0ns" maxDelay="+0ns" \
minDelay="+9.22337e+18ns" txBytes="48" rxBytes="0" txPackets="1" rxPackets="0" lostPackets="0" timesForwarded="0">
    </Flow>
  </FlowStats>
  <Ipv4FlowClassifier>
    <Flow flowId="1" sourceAddress="10.1.1.1" destinationAddress="10.1.3.2" protocol="17" sourcePort="49153" \
destinationPort="9">
      <Dscp value="0x0" packets="20" />
    </Flow>
  </Ipv4FlowClassifier>
  <Ipv6FlowClassifier>
    <Flow flowId="2" sourceAddress="2001::1" destinationAddress="2001::2" protocol="6" sourcePort="80" \
destinationPort="4000" />
  </Ipv6FlowClassifier>
  <FlowProbes>
    <FlowProbe index="0">
      <FlowStats  flowId="1" packets="20" bytes="20800" delayFromFirstProbeSum="+0ns" ></FlowStats>
      <FlowStats  flowId="2" packets="1" bytes="48" delayFromFirstProbeSum="+0ns" ></FlowStats>
    </FlowProbe>
    <FlowProbe index="1"></FlowProbe>
  </FlowProbes>
</FlowMonitor>
"""
FIRST = "dataFlow[1] 10.1.1.1:49153 > 10.1.3.2:9 UDP"
SECOND = "dataFlow[2] [2001::1]:80 > [2001::2]:4000 TCP"


def values(told: Remembered, module: str) -> dict[str, float]:
    return {name: value for where, name, value, _ in told.scalars if where == module}


def test_means_rates_and_losses_are_derived_from_the_sums() -> None:
    told = read(FlowMonitor(), FILE)

    assert (told.warnings, told.cut_off) == ([], [])
    assert told.runs[0].simulator == "ns-3"
    flow = values(told, FIRST)
    assert flow["delay:mean"] == pytest.approx(0.4 / 10)
    assert flow["jitter:mean"] == pytest.approx(0.09 / 9)
    assert flow["throughput"] == pytest.approx(8 * 10400 / (10 - 2)), "from the first sent to the last received"
    assert flow["lossRatio"] == pytest.approx(10 / 20), "lostPackets would say 7"
    assert flow["lostPackets"] == 7
    assert (flow["delay:min"], flow["delay:max"]) == pytest.approx((0.01, 0.26))
    assert flow["packetsDropped:queue"] == 6
    assert flow["bytesDropped:queue"] == 6240
    assert flow["packetsDropped:fragment timeout"] == 1


def test_every_derived_value_has_a_unit_and_says_what_it_is_made_of() -> None:
    told = read(FlowMonitor(), FILE)

    attributes = {name: attributes for module, name, _, attributes in told.scalars if module == FIRST}
    assert attributes["delay:mean"] == {"unit": "s", "title": "delaySum / rxPackets"}
    assert attributes["throughput"]["unit"] == "bit/s"
    assert "first sent" in attributes["throughput"]["title"]
    assert attributes["txBytes"]["unit"] == "B"


def test_a_flow_without_a_delivery_has_no_delay_and_loses_everything() -> None:
    flow = values(read(FlowMonitor(), FILE), SECOND)

    assert flow["lossRatio"] == 1
    assert flow["throughput"] == 0
    for name in ("delay:mean", "delay:min", "delay:last", "jitter:mean", "timeFirstRxPacket", "timeLastRxPacket"):
        assert math.isnan(flow[name]), name
    assert flow["timeFirstTxPacket"] == pytest.approx(0.020067198)


def test_the_data_flows_together_are_told() -> None:
    flows = values(read(FlowMonitor(), FILE), "data flows")

    assert (flows["flows"], flows["undelivered"]) == (2, 1)
    assert (flows["txPackets"], flows["rxPackets"]) == (21, 10)
    assert flows["lossRatio"] == pytest.approx(11 / 21)
    assert flows["missingPackets"] == 11
    assert flows["delay:mean"] == pytest.approx(0.04)
    assert flows["jitter:mean"] == pytest.approx(0.01)
    assert flows["throughput"] == pytest.approx(8 * 10400 / (10 - 0.020067198)), "first sent by anyone, last received"


def flow(number: int, sent: int, size: int, delay: float) -> str:
    return (
        f'<Flow flowId="{number}" timeFirstTxPacket="+1e+09ns" timeLastRxPacket="+2e+09ns" delaySum="+{sent * delay}s" '
        f'jitterSum="+0ns" txBytes="{sent * size}" rxBytes="{sent * size}" txPackets="{sent}" rxPackets="{sent}"/>'
    )


def talk(number: int, source: str, destination: str, protocol: int, ports: tuple[int, int]) -> str:
    return (
        f'<Flow flowId="{number}" sourceAddress="{source}" destinationAddress="{destination}" protocol="{protocol}" '
        f'sourcePort="{ports[0]}" destinationPort="{ports[1]}"/>'
    )


def test_acknowledgements_and_signalling_are_not_averaged_with_data() -> None:
    flows = flow(1, 100, 1500, 0.5) + flow(2, 50, 52, 0.1) + flow(3, 30, 48, 0.01) + flow(4, 10, 200, 0.3)
    talks = (
        talk(1, "10.0.0.1", "10.0.0.2", 6, (49153, 80))
        + talk(2, "10.0.0.2", "10.0.0.1", 6, (80, 49153))
        + talk(3, "10.0.0.1", "10.0.0.255", 17, (654, 654))
        + talk(4, "10.0.0.3", "10.0.0.2", 17, (49154, 9))
    )
    told = read(
        FlowMonitor(),
        f"<FlowMonitor><FlowStats>{flows}</FlowStats>"
        f"<Ipv4FlowClassifier>{talks}</Ipv4FlowClassifier></FlowMonitor>".encode(),
    )

    assert sorted({module.partition(" ")[0] for module, *_ in told.scalars if "[" in module}) == [
        "dataFlow[1]",
        "dataFlow[4]",
        "returnFlow[2]",
        "signallingFlow[3]",
    ]
    assert values(told, "data flows")["delay:mean"] == pytest.approx((100 * 0.5 + 10 * 0.3) / 110)
    assert values(told, "return flows (TCP acknowledgements)")["delay:mean"] == pytest.approx(0.1)
    assert values(told, "signalling flows (routing, DHCP, ICMP)")["rxPackets"] == 30
    headlines = {(module, name) for module, name, _, attributes in told.scalars if attributes.get("headline")}
    assert {module for module, _ in headlines} == {"data flows"}
    assert {name for _, name in headlines} == {
        "txPackets", "rxPackets", "missingPackets", "lossRatio", "throughput", "delay:mean", "jitter:mean",
    }  # fmt: skip


def test_of_two_tcp_flows_that_both_carry_data_none_is_a_return() -> None:
    flows = flow(1, 100, 1500, 0.5) + flow(2, 50, 600, 0.1)
    talks = talk(1, "10.0.0.1", "10.0.0.2", 6, (9, 80)) + talk(2, "10.0.0.2", "10.0.0.1", 6, (80, 9))
    text = f"<FlowMonitor><FlowStats>{flows}</FlowStats><Ipv4FlowClassifier>{talks}</Ipv4FlowClassifier></FlowMonitor>"

    assert values(read(FlowMonitor(), text.encode()), "data flows")["flows"] == 2


def test_a_probe_counts_what_passed_it() -> None:
    told = read(FlowMonitor(), FILE)

    assert values(told, "probe[0]") == {"packets": 21, "bytes": 20848}
    assert not values(told, "probe[1]")


def test_a_sparse_histogram_gets_the_bins_that_were_left_out() -> None:
    [delay] = read(FlowMonitor(), FILE).statistics

    assert (delay.module, delay.name, delay.attributes["unit"]) == (FIRST, "delay", "s")
    assert [edge for edge, _ in delay.bins] == pytest.approx([0.011, 0.012, 0.013, 0.259, 0.26])
    assert [count for _, count in delay.bins] == [8, 1, 0, 1, 0]
    row = statistic_row(0, delay)
    assert (row.count, round(row.mean, 9)) == (10, 0.04)
    assert 0.011 < row.percentiles[50] < 0.012, "five of ten lie within the first bin of eight"


def test_no_flow_at_all_is_a_result() -> None:
    told = read(FlowMonitor(), b"<FlowMonitor><FlowStats></FlowStats></FlowMonitor>")

    assert (told.warnings, told.cut_off) == ([], [])
    assert values(told, "flows") == {"flows": 0}


def test_a_cut_off_file_keeps_whole_flows_even_without_their_addresses() -> None:
    told = read(FlowMonitor(), FILE[: FILE.index(b"<Ipv4FlowClassifier>") + 25])

    assert [text for text, _ in told.cut_off] == ["The file ends in the middle; what stands before it was read."]
    assert values(told, "flow[1]")["rxPackets"] == 10
    assert values(told, "flows without addresses")["rxPackets"] == 10


def test_a_damaged_attribute_is_told_with_its_line_and_taken_as_no_value() -> None:
    data = FILE.replace(b'rxPackets="10"', b'rxPackets="1_0"').replace(b'"+4e+08ns"', b'"4 lightyears"')

    told = read(FlowMonitor(), data)

    assert [text for text, line in told.warnings if line == 4] == [
        "The attribute rxPackets is no number: taken as no value.",
        "The attribute delaySum is no time: taken as no value.",
    ]
    assert math.isnan(values(told, FIRST)["delay:mean"])
    assert values(told, FIRST)["txPackets"] == 20


def test_how_far_it_has_read_only_rises_although_it_reads_twice() -> None:
    offsets = read(FlowMonitor(), FILE).offsets

    assert offsets == sorted(offsets)
    assert offsets[-1] == len(FILE)


def test_it_is_told_by_its_root_whatever_its_name() -> None:
    assert FlowMonitor().recognises(FILE[:200])
    assert not FlowMonitor().recognises(b"<FlowMonitorX/>")
    assert not FlowMonitor().recognises(b"<a><FlowMonitor/></a>")


@settings(max_examples=150, deadline=None)
@given(cut=st.integers(0, len(FILE)), place=st.integers(0, len(FILE) - 1), byte=st.integers(0, 255))
def test_whatever_has_happened_to_a_file_is_only_worth_a_warning(cut: int, place: int, byte: int) -> None:
    damaged = bytearray(FILE)
    damaged[place] = byte

    FlowMonitor().recognises(bytes(damaged[:cut]))
    told = read(FlowMonitor(), bytes(damaged[:cut]))

    assert len(told.scalars) < 200
    assert cut >= len(FILE.rstrip()) or told.cut_off or told.warnings
