"""Retries for Penstock: as a stage of the pipeline, and alone for any function."""

from penstock_retry.config import RetryConfig
from penstock_retry.policy import RetryPolicy
from penstock_retry.stage import RetryStage
from penstock_retry.standalone import retrying

__all__ = ["RetryConfig", "RetryPolicy", "RetryStage", "retrying"]
