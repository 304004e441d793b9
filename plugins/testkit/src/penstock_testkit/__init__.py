"""A provider simulator with fault injection, and recorded traffic, for tests of Penstock and its plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock_testkit import faults
from penstock_testkit.faults import Fault
from penstock_testkit.rate_limits import RateLimits
from penstock_testkit.received import ReceivedRequest
from penstock_testkit.recordings import Recording, Recordings, splits
from penstock_testkit.simulator import Simulator

if TYPE_CHECKING:
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


def __getattr__(name: str) -> object:
    """Re-export what needs the core only on demand: pytest imports this package in every run (pytest11)."""
    if name == "SimulatedTransport":
        from penstock_testkit.virtual import SimulatedTransport

        return SimulatedTransport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
