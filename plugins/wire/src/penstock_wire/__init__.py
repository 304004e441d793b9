"""
HTTP transports, stream decoders, header parsing and the OpenAI dialect for Penstock.

Nothing is re-exported: the parts are imported from their modules (`penstock_wire.openai`,
`penstock_wire.sse`, `penstock_wire.headers`, ...), so that each costs only who uses it.
"""

from __future__ import annotations

__all__: list[str] = []
