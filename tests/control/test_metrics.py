"""What /metrics says, read back as Prometheus reads it."""

from __future__ import annotations

from msgspec import structs
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from peershare.control.metrics import render_metrics
from peershare.status import Counters, DownloadState
from tests.control.fake_node import a_download
from tests.control.http import ServiceTestCase

COUNTED = Counters(
    downloaded_bytes=1_000_000_000_001,
    uploaded_bytes=7,
    downloads={"ok": 3, "refused": 1},
    uploads={"ok": 2},
    peers=4,
    refused={"too-often": 5, 'odd "reason"\n\\': 1},
    announcements=11,
    beacons=12,
    reactor_delay=0.25,
)
Sample = tuple[str, tuple[tuple[str, str], ...]]


def read(text: bytes) -> dict[Sample, float]:
    """Every sample, by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode("utf-8"))
        for sample in family.samples
    }


class RenderTests(SynchronousTestCase):
    def test_everything(self) -> None:
        """Transfers, bytes by direction, peers, refusals, announcements, the reactor's delay."""
        downloads = [a_download("1"), a_download("2"), a_download("3", state=DownloadState.DONE)]
        found = read(render_metrics("1.2", COUNTED, downloads, 2))
        moved, ended = "peershare_bytes_total", "peershare_transfers_total"
        for name, labels, value in (
            ("peershare_info", {"version": "1.2"}, 1),
            (moved, {"direction": "download"}, 1_000_000_000_001),
            (moved, {"direction": "upload"}, 7),
            (ended, {"direction": "download", "result": "ok"}, 3),
            (ended, {"direction": "download", "result": "refused"}, 1),
            (ended, {"direction": "upload", "result": "ok"}, 2),
            ("peershare_refusals_total", {"reason": "too-often"}, 5),
            ("peershare_announcements_total", {"protocol": "classic"}, 11),
            ("peershare_announcements_total", {"protocol": "native"}, 12),
            ("peershare_downloads", {"state": "searching"}, 2),
            ("peershare_downloads", {"state": "done"}, 1),
            ("peershare_downloads", {"state": "failed"}, 0),
            ("peershare_peers", {}, 4),
            ("peershare_event_streams", {}, 2),
            ("peershare_reactor_delay_seconds", {}, 0.25),
        ):
            self.assertEqual(found[name, tuple(sorted(labels.items()))], value, name)

    def test_odd_labels(self) -> None:
        """No text in a label breaks a line."""
        found = read(render_metrics("1", COUNTED, [], 0))
        self.assertEqual(found["peershare_refusals_total", (("reason", 'odd "reason"\n\\'),)], 1)

    def test_own_registry(self) -> None:
        """Two nodes in one process do not meet in it."""
        other = structs.replace(COUNTED, peers=9)
        self.assertEqual(read(render_metrics("1", COUNTED, [], 0))["peershare_peers", ()], 4)
        self.assertEqual(read(render_metrics("1", other, [], 0))["peershare_peers", ()], 9)


class MetricsTests(ServiceTestCase):
    async def test_served(self) -> None:
        """The service serves what its node counted, as text."""
        self.node.counted = COUNTED
        answer = await self.ask("GET", "/metrics")
        self.assertEqual(answer.status, 200)
        self.assertTrue(answer.headers["content-type"].startswith("text/plain; version="))
        self.assertEqual(read(answer.body)["peershare_peers", ()], 4)

    async def test_health(self) -> None:
        """Whether it lives may be asked without a token."""
        answer = await self.ask("GET", "/healthz", self.headers(authorization=None))
        self.assertEqual((answer.status, answer.json), (200, {"status": "ok"}))
