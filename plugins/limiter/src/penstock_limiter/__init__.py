"""Limits for Penstock: requests, tokens and concurrency in one admission, as a stage and alone."""

from penstock_limiter.admission import Lane, Permit, Refusal
from penstock_limiter.config import LimitConfig, LimiterConfig
from penstock_limiter.gate import Gate
from penstock_limiter.limit import BoundedLimit, Bounds, Limit, Settlement
from penstock_limiter.stage import LimiterStage
from penstock_limiter.standalone import rate_limited
from penstock_limiter.stats import LimiterStats

__all__ = [
    "BoundedLimit",
    "Bounds",
    "Gate",
    "Lane",
    "Limit",
    "LimitConfig",
    "LimiterConfig",
    "LimiterStage",
    "LimiterStats",
    "Permit",
    "Refusal",
    "Settlement",
    "rate_limited",
]
