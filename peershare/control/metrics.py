"""Metrics: what the node has counted, in the form that Prometheus reads.

Names follow its rules: base units, `_total` for what only grows.  Not for: counting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from peershare.status import Counters, DownloadState, DownloadStatus

METRICS_TYPE = CONTENT_TYPE_LATEST.encode("ascii")


def render_metrics(
    version: str, counters: Counters, downloads: Iterable[DownloadStatus], streams: int
) -> bytes:
    """The text of /metrics; `streams` is how many read the event stream."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(_families(version, counters, downloads, streams)))
    return generate_latest(registry)


class _Families(Collector):
    """Metrics that are made already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """The library: what there is."""
        return self._families


def _families(
    version: str, counters: Counters, downloads: Iterable[DownloadStatus], streams: int
) -> list[Metric]:
    info = GaugeMetricFamily("peershare_info", "The node, by its version.", labels=["version"])
    info.add_metric([version], 1)
    sent = {"classic": counters.announcements, "native": counters.beacons}
    return [
        info,
        *_transfers(counters),
        _counter("announcements", "Datagrams sent to announce, by protocol.", "protocol", sent),
        _counter(
            "refusals", "What was turned away from others, by reason.", "reason", counters.refused
        ),
        _states(downloads),
        GaugeMetricFamily("peershare_peers", "Peers known right now.", counters.peers),
        GaugeMetricFamily("peershare_event_streams", "Readers of the event stream.", streams),
        GaugeMetricFamily(
            "peershare_reactor_delay_seconds",
            "By how much a timer was late at most, in the last minute.",
            counters.reactor_delay,
        ),
    ]


def _transfers(counters: Counters) -> list[Metric]:
    """Bytes, and what became of the transfers, in both directions."""
    amounts = {"download": counters.downloaded_bytes, "upload": counters.uploaded_bytes}
    moved = _counter("bytes", "Bytes of contents moved.", "direction", amounts)
    ended = CounterMetricFamily(
        "peershare_transfers",
        "Transfers that ended, by direction and result.",
        labels=["direction", "result"],
    )
    for direction, results in (("download", counters.downloads), ("upload", counters.uploads)):
        for result, count in sorted(results.items()):
            ended.add_metric([direction, result], count)
    return [moved, ended]


def _states(downloads: Iterable[DownloadStatus]) -> Metric:
    """How many downloads of this run are in each state; those that none is in are told too."""
    family = GaugeMetricFamily(
        "peershare_downloads", "Downloads of this run, by state.", labels=["state"]
    )
    counts = Counter(status.state for status in downloads)
    for state in DownloadState:
        family.add_metric([state.value], counts[state])
    return family


def _counter(name: str, text: str, label: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(f"peershare_{name}", text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family
