"""The `penstock` command; see `main`. nothing is imported here, for clients load the entry point."""

from __future__ import annotations

__all__: list[str] = []
