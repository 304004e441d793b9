"""
Embeddings by a local model: the mean of its last hidden states, padding left out.

One job in the model's worker threads; between batches it looks whether it is still wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import CancelledError
from threading import Event
from typing import TYPE_CHECKING, Any

from penstock.errors import AttemptTimeout, ContextLengthError, OverloadedError, PenstockError, ServerError

if TYPE_CHECKING:
    from penstock_huggingface.shelf import LoadedModel

BATCH = 32
Vectors = tuple[tuple[float, ...], ...]


class Embedding:
    """
    Starts at once, or when the model's workers have time.

    Args:
        loaded: the model.
        inputs: the texts.
        normalize: scale each vector to length 1.
    """

    def __init__(self, loaded: LoadedModel, inputs: Sequence[str], *, normalize: bool) -> None:
        self._loaded = loaded
        self._inputs = inputs
        self._normalize = normalize
        self._stop = Event()
        self._future = loaded.workers.submit(self._run)

    def stop(self) -> None:
        """Nobody wants the vectors any more."""
        self._stop.set()
        self._future.cancel()

    def result(self, timeout: float | None) -> tuple[Vectors, int]:
        """
        The vectors in the order of the texts, and how many tokens the texts had.

        Raises:
            AttemptTimeout: they were not there within `timeout` seconds.
            PenstockError: a text does not fit, or the model failed.
        """
        try:
            return self._future.result(timeout)
        except TimeoutError as error:
            if isinstance(error, PenstockError):
                raise
            raise AttemptTimeout("the model gave no vectors in time", phase="attempt") from None
        except CancelledError:
            raise ServerError("the embedding was stopped") from None

    def _run(self) -> tuple[Vectors, int]:
        try:
            return self._vectors()
        except PenstockError:
            raise
        except MemoryError:
            raise OverloadedError("the device has no memory left for these texts") from None
        except Exception as error:
            if "out of memory" in str(error).lower():
                raise OverloadedError("the device has no memory left for these texts") from None
            # The text could quote the input.
            raise ServerError(f"the model failed: {type(error).__name__}") from None

    def _vectors(self) -> tuple[Vectors, int]:
        import torch

        vectors: list[tuple[float, ...]] = []
        tokens = 0
        for start in range(0, len(self._inputs), BATCH):
            if self._stop.is_set():
                raise ServerError("the embedding was stopped")
            batch = self._encoded(list(self._inputs[start : start + BATCH]), start)
            mask = batch["attention_mask"]
            with torch.inference_mode():
                hidden = self._loaded.model(**batch).last_hidden_state.float()
                weights = mask.unsqueeze(-1).to(hidden.dtype)
                pooled = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
                if self._normalize:
                    pooled = torch.nn.functional.normalize(pooled, dim=-1)
            vectors += map(tuple, pooled.tolist())
            tokens += int(mask.sum())
        return tuple(vectors), tokens

    def _encoded(self, texts: list[str], start: int) -> Any:
        loaded = self._loaded
        with loaded.lock:
            lengths = [len(ids) for ids in loaded.tokenizer(texts)["input_ids"]]
            for number, length in enumerate(lengths):
                if loaded.window is not None and length > loaded.window:
                    raise ContextLengthError(
                        f"inputs[{start + number}] has {length} tokens, the model's window {loaded.window}",
                        param="inputs",
                    )
            batch = loaded.tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
        return batch.to(loaded.device)
