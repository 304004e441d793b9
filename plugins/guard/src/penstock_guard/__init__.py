"""The guard for Penstock: validation, safe image fetching, scans of prompts and answers."""

from penstock_guard.config import GuardConfig, ImagesConfig, ScanConfig
from penstock_guard.hooks import ScanHooks
from penstock_guard.limits import RequestLimits
from penstock_guard.sanitise import safe_filename, safe_html
from penstock_guard.scan import Scanner
from penstock_guard.stage import GuardStage

__all__ = [
    "GuardConfig",
    "GuardStage",
    "ImagesConfig",
    "RequestLimits",
    "ScanConfig",
    "ScanHooks",
    "Scanner",
    "safe_filename",
    "safe_html",
]
