"""`penstock demo`: calls survive faults before your eyes, and the requests are counted."""

from __future__ import annotations

__all__: list[str] = []
