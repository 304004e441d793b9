"""A provider simulator with fault injection, and recorded traffic, for tests of Penstock and its plugins."""

from __future__ import annotations

from penstock_testkit import faults
from penstock_testkit.faults import Fault
from penstock_testkit.rate_limits import RateLimits
from penstock_testkit.received import ReceivedRequest
from penstock_testkit.recordings import Recording, Recordings, splits
from penstock_testkit.simulator import Simulator
from penstock_testkit.virtual import SimulatedTransport

__all__ = [
    "Fault",
    "RateLimits",
    "ReceivedRequest",
    "Recording",
    "Recordings",
    "SimulatedTransport",
    "Simulator",
    "faults",
    "splits",
]
