"""What the service counts, for Prometheus. No label is a caller's text: a stranger cannot make new series."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from packshot.serving.follow import Follower

Route = Literal["generate", "reconstruct", "describe", "page", "health", "metrics", "other"]


class Metrics:
    """The service's counters, and what its follower and its queue say when asked."""

    def __init__(self, follower: Follower, waiting: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "packshot_requests",
            "Answers by route and status; 499 is a client that left.",
            ("route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "packshot_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ("route",),
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self._registry,
        )
        self._pictures = Counter("packshot_pictures", "Pictures answered.", ("route",), registry=self._registry)
        self._registry.register(_State(follower, waiting))
        ProcessCollector(registry=self._registry)

    def count_request(self, route: Route, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_pictures(self, route: Route, pictures: int) -> None:
        self._pictures.labels(route).inc(pictures)

    def expose(self) -> bytes:
        """The text of GET /metrics, version 0.0.4."""
        return generate_latest(self._registry)


class _State(Collector):
    def __init__(self, follower: Follower, waiting: Callable[[], int]) -> None:
        self._follower, self._waiting = follower, waiting

    def collect(self) -> Iterator[Metric]:
        now, failure = self._follower.current, self._follower.failure
        epoch, version = (now.live.epoch, now.live.version) if now else (0, 0)
        failed = 0 if failure is None else 1
        yield GaugeMetricFamily("packshot_model_epoch", "Epoch of the model that is served; 0 for none.", epoch)
        yield GaugeMetricFamily("packshot_model_version", "Version that is served; 0 for none.", version)
        yield GaugeMetricFamily("packshot_candidate_failed", "1 while what is to be served cannot be.", failed)
        yield CounterMetricFamily("packshot_swaps", "Models taken into service.", self._follower.swaps)
        yield CounterMetricFamily("packshot_swap_failures", "Models refused.", self._follower.failures)
        yield GaugeMetricFamily("packshot_queue_pictures", "Pictures that wait to be drawn.", self._waiting())
