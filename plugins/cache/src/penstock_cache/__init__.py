"""Cached answers and single flight for Penstock: as a stage of the pipeline, and alone for any function."""

from penstock_cache.config import CacheConfig
from penstock_cache.memory import MemoryStore
from penstock_cache.sqlite import SqliteStore
from penstock_cache.stage import CacheStage
from penstock_cache.standalone import cached
from penstock_cache.store import Store, StoreSize
from penstock_cache.tally import CacheStats
from penstock_cache.ttl import TtlRule, content_ttl

__all__ = [
    "CacheConfig",
    "CacheStage",
    "CacheStats",
    "MemoryStore",
    "SqliteStore",
    "Store",
    "StoreSize",
    "TtlRule",
    "cached",
    "content_ttl",
]
