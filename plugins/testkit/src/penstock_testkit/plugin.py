"""The entry point of the distribution; the testkit serves tests and registers nothing in a pipeline."""

from __future__ import annotations
