"""Routes for Penstock: failover, weights, mid-stream recovery and hedging; failover also alone."""

from penstock_routing.config import HedgeConfig, RouteConfig, Routes, RoutingConfig, TargetConfig
from penstock_routing.hedging import HedgePolicy, Hedging
from penstock_routing.route import RouteStats, RoutingPolicy, TargetStats
from penstock_routing.stage import RoutingStage
from penstock_routing.standalone import failing_over

__all__ = [
    "HedgeConfig",
    "HedgePolicy",
    "Hedging",
    "RouteConfig",
    "RouteStats",
    "Routes",
    "RoutingConfig",
    "RoutingPolicy",
    "RoutingStage",
    "TargetConfig",
    "TargetStats",
    "failing_over",
]
