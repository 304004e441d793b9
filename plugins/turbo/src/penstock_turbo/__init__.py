"""
A lean HTTP/1.1 transport for Penstock, chosen by `transport = "turbo"`.

Nothing is re-exported: `penstock_turbo.blocking` and `penstock_turbo.asynchronous` hold one colour each, so
that each costs only who uses it.
"""

from __future__ import annotations

__all__: list[str] = []
