"""
The models of this process: each loaded once, shared, and let go with its last user.

Rules
1. A key says everything that makes two loads differ, the process included: after a fork the threads of a
   model are gone, so the child loads its own.
2. `take` counts a user, `give_back` takes it off; at zero the shelf forgets the model, and its memory is
   free as soon as the answers still being made are done.
3. One thread loads one model; whoever needs it waits for that thread. A failed load is told to all who
   wait, and the next call tries again.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from penstock.errors import ModelNotFoundError, OverloadedError, ProviderError, ServerError

if TYPE_CHECKING:
    from penstock_huggingface.config import HuggingFaceConfig

Kind = Literal["chat", "embed"]


class ModelKey(NamedTuple):
    """What makes a loaded model the same for two users."""

    source: str
    kind: Kind
    device: str | None
    dtype: str
    parallel: int
    download: bool
    process: int

    @classmethod
    def of(cls, source: str, kind: Kind, config: HuggingFaceConfig) -> ModelKey:
        """The key of a source under a configuration, in this process."""
        return cls(source, kind, config.device, config.dtype, config.parallel, config.download, os.getpid())


class LoadedModel:
    """
    A model in memory and the threads that work with it.

    Attributes:
        model, tokenizer: of transformers.
        device: where inputs go.
        window: tokens of prompt and answer together; None when unknown.
        ends: the tokens that end an answer.
        memory: bytes of its weights.
        lock: held while the tokenizer encodes, which is not safe from several threads.
        workers: run one answer each, in order.
    """

    def __init__(self, model: Any, tokenizer: Any, parallel: int) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.device = model.device
        self.window = _window(model, tokenizer)
        self.ends = _ends(model, tokenizer)
        self.memory = int(model.get_memory_footprint())
        self.lock = threading.Lock()
        self.workers = ThreadPoolExecutor(parallel, thread_name_prefix="penstock-local")


class Place:
    """
    A model's place on the shelf: the load under way, or what it gave.

    Args:
        key: which model.
    """

    __slots__ = ("_done", "failure", "key", "loaded", "users")

    def __init__(self, key: ModelKey) -> None:
        self.key = key
        self._done = threading.Event()
        self.loaded: LoadedModel | None = None
        self.failure: tuple[type[ProviderError], str] | None = None
        self.users = 0

    def wait(self, timeout: float | None) -> LoadedModel | None:
        """
        The model, None when it is not there after `timeout` seconds.

        Raises:
            ProviderError: it could not be loaded.
        """
        self._done.wait(timeout)
        if self.failure is not None:
            kind, message = self.failure
            raise kind(message)  # every caller gets an error of its own
        return self.loaded

    def done(self) -> None:
        """Wake those who wait."""
        self._done.set()


class Shelf:
    """The models of one process; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: dict[ModelKey, Place] = {}

    def take(self, key: ModelKey, who: str) -> Place:
        """The model's place with one user more; the first one starts the load."""
        with self._lock:
            place = self._places.get(key)
            fresh = place is None
            if place is None:
                place = self._places[key] = Place(key)
            place.users += 1
        if fresh:
            threading.Thread(
                target=self._load, args=(place, who), name="penstock-local-load", daemon=True
            ).start()
        return place

    def give_back(self, place: Place) -> None:
        """One user less."""
        with self._lock:
            place.users -= 1
            if place.users <= 0 and self._places.get(place.key) is place:
                del self._places[place.key]

    def count(self) -> int:
        """Models in memory or on their way into it."""
        with self._lock:
            return len(self._places)

    def _load(self, place: Place, who: str) -> None:
        try:
            place.loaded = load(place.key)
        except BaseException as error:
            place.failure = _failure(error, place.key, who)
            with self._lock:
                if self._places.get(place.key) is place:
                    del self._places[place.key]
        finally:
            place.done()


shelf = Shelf()
"""The one shelf of this process."""


def load(key: ModelKey) -> LoadedModel:
    """Load a model and its tokenizer; only weights as safetensors, which cannot carry code."""
    import torch
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    device = key.device
    if device is None:
        best = torch.accelerator.current_accelerator(check_available=True)
        device = best.type if best is not None else "cpu"
    options: dict[str, Any] = {"local_files_only": not key.download, "trust_remote_code": False}
    kind = AutoModelForCausalLM if key.kind == "chat" else AutoModel
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # nobody asked for a bar on stderr
    try:
        tokenizer = AutoTokenizer.from_pretrained(key.source, **options)
        dtype = key.dtype if key.dtype == "auto" else getattr(torch, key.dtype)
        model = kind.from_pretrained(
            key.source,
            dtype=dtype,
            use_safetensors=True,
            device_map="auto" if device == "auto" else None,
            **options,
        )
    finally:
        if bars:
            logging.enable_progress_bar()
    if device != "auto":
        model = model.to(device)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return LoadedModel(model.eval(), tokenizer, key.parallel)


def _failure(error: BaseException, key: ModelKey, who: str) -> tuple[type[ProviderError], str]:
    # The first line only: their texts run over pages.
    reason = (str(error).strip().splitlines() or [""])[0][:200]
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return OverloadedError, f"{who}: no memory left for the model {key.source!r}"
    if isinstance(error, OSError | ValueError | KeyError):
        fetch = "" if key.download else "; download = true would fetch it from the Hub"
        return ModelNotFoundError, f"{who}: the model {key.source!r} cannot be loaded: {reason}{fetch}"
    return ServerError, f"{who}: loading {key.source!r} failed: {type(error).__name__}: {reason}"


def _window(model: Any, tokenizer: Any) -> int | None:
    config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    length = getattr(config, "max_position_embeddings", None)
    if type(length) is int and length > 0:
        return length
    length = getattr(tokenizer, "model_max_length", None)
    return int(length) if length and length < 1e9 else None  # "none" is written as 1e30


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    generation = getattr(model, "generation_config", None)
    ends = getattr(generation, "eos_token_id", None)
    found = set(ends) if isinstance(ends, list) else {ends}
    found.add(tokenizer.eos_token_id)
    return frozenset(end for end in found if end is not None)
