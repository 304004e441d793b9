"""The entry point of the distribution: the command itself registers nothing in a pipeline."""

from __future__ import annotations
