"""Circuit breakers for Penstock: as a stage of the pipeline, and alone for any function."""

from penstock_breaker.circuit import Circuit
from penstock_breaker.config import BreakerConfig
from penstock_breaker.permit import Permit, Refusal
from penstock_breaker.policy import BreakerPolicy
from penstock_breaker.reports import CircuitStats, Transition
from penstock_breaker.stage import BreakerStage, BreakerStats
from penstock_breaker.standalone import CircuitBreaker

__all__ = [
    "BreakerConfig",
    "BreakerPolicy",
    "BreakerStage",
    "BreakerStats",
    "Circuit",
    "CircuitBreaker",
    "CircuitStats",
    "Permit",
    "Refusal",
    "Transition",
]
