"""
HTTP transports, stream decoders, header parsing and the OpenAI dialect for Penstock.

Nothing is re-exported: the parts are imported from their modules (`penstock_wire.openai`,
`penstock_wire.sse`, `penstock_wire.headers`, ...), so that each costs only who uses it.
"""

__all__: list[str] = []
