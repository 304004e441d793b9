"""
One answer being made in a model's worker thread, and its reader in another.

Rules
1. The worker looks after every token whether it is still wanted, and ends its queue on every path: with
   the last chunk, or with the error.
2. `stop` may be called from anywhere and at any time; it wakes the reader too. Work that has not begun
   never does.
3. The reader side has the shape of an HTTP exchange and its decoder, so that `penstock.exchange` watches the
   limits, the commit point and the outcome as it does for a real server.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from queue import Empty, SimpleQueue
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Any

from penstock.errors import AttemptTimeout, OverloadedError, PenstockError, ServerError, StreamInterrupted
from penstock.http import HttpHead
from penstock.messages import EMPTY
from penstock.responses import Chunk, FinishReason, Usage
from penstock_huggingface.local_text import AnswerText

if TYPE_CHECKING:
    from penstock.runtime import Runtime
    from penstock_huggingface.local_request import Task
    from penstock_huggingface.shelf import LoadedModel


class Generation:
    """
    Starts at once, or when the model's workers have time.

    Args:
        loaded: the model.
        task: what it is asked.
    """

    def __init__(self, loaded: LoadedModel, task: Task) -> None:
        self._loaded = loaded
        self._task = task
        self._stop = Event()
        self._text = AnswerText(loaded.tokenizer, task)
        self._made = 0
        self._finish: FinishReason | None = None
        self._over = False
        self._error: PenstockError | None = None
        # A chunk, an error, or None for the end.
        self._out: SimpleQueue[Chunk | PenstockError | None] = SimpleQueue()
        self._future = loaded.workers.submit(self._run)

    def stop(self) -> None:
        """Nobody wants the answer any more."""
        self._stop.set()
        self._future.cancel()
        self._out.put(None)

    def next(self, timeout: float | None) -> list[Chunk]:
        """
        What has been made since the last time, waiting for the first of it; empty at the end.

        Raises:
            AttemptTimeout: nothing came within `timeout` seconds.
            PenstockError: what ended the work.
        """
        chunks: list[Chunk] = []
        while not self._over:
            try:
                piece = self._out.get_nowait() if chunks else self._out.get(timeout=timeout)
            except Empty:
                if chunks:
                    return chunks
                raise AttemptTimeout("the model gave nothing in time", phase="read") from None
            if isinstance(piece, Chunk):
                chunks.append(piece)
            else:
                self._over = True
                self._error = piece
        if not chunks and self._error is not None:
            error, self._error = self._error, None
            raise error
        return chunks

    def rest(self, timeout: float | None) -> list[Chunk]:
        """Everything up to the end; raises as `next` does, `timeout` being for all of it."""
        due = None if timeout is None else monotonic() + timeout
        chunks: list[Chunk] = []
        while more := self.next(None if due is None else max(0.0, due - monotonic())):
            chunks += more
        return chunks

    def _run(self) -> None:
        try:
            if not self._stop.is_set():
                self._generate()
        except PenstockError as error:
            self._out.put(error)
        except BaseException as error:
            self._out.put(_failure(error))
        self._out.put(None)

    def _generate(self) -> None:
        import torch

        loaded, task = self._loaded, self._task
        with torch.inference_mode(), _seeded(task.seed, loaded.device):
            loaded.model.generate(
                **task.inputs,
                max_new_tokens=task.max_new_tokens,
                stopping_criteria=[self._after_token],
                pad_token_id=loaded.tokenizer.pad_token_id,
                **task.options,
            )
        if self._stop.is_set():
            return
        for chunk in self._text.flush():
            self._out.put(chunk)
        finish = self._finish or "length"
        if finish == "stop" and self._text.called:
            finish = "tool_calls"
        usage = Usage(task.prompt_tokens, self._made)
        self._out.put(Chunk(finish_reason=finish, raw_finish_reason=finish, usage=usage))

    def _after_token(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        """transformers asks after every token whether to stop."""
        import torch

        if self._finish is None and not self._stop.is_set():
            self._take(int(input_ids[0, -1]))
        over = self._finish is not None or self._stop.is_set()
        return torch.full((input_ids.shape[0],), over, dtype=torch.bool, device=input_ids.device)

    def _take(self, token: int) -> None:
        self._made += 1
        if token in self._loaded.ends:
            self._finish = "stop"
            return
        for chunk in self._text.add(token):
            self._out.put(chunk)
        if self._text.stopped:
            self._finish = "stop"
        elif self._made >= self._task.max_new_tokens:
            self._finish = "length"


def _failure(error: BaseException) -> PenstockError:
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return OverloadedError("the device has no memory left for this answer")
    # The text could quote the prompt.
    return ServerError(f"the model failed: {type(error).__name__}")


@contextlib.contextmanager
def _seeded(seed: int | None, device: Any) -> Iterator[None]:
    """The dice as they fall for a seed; those of the process are left as they were."""
    if seed is None:
        yield
        return
    import torch

    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices=devices, device_type=device.type if devices else "cuda"):
        torch.manual_seed(seed)
        yield


class GenerationExchange:
    """
    A generation as an exchange; see `penstock.http.Exchange`. Its bytes say only that there is more.

    Args:
        generation: where the chunks come from.
        runtime: how this colour waits.
    """

    def __init__(self, generation: Generation, runtime: Runtime) -> None:
        self.head = HttpHead(200, EMPTY)
        self.chunks: list[Chunk] = []
        self._generation = generation
        self._runtime = runtime

    async def read(self, due: float) -> bytes:
        """Wait for chunks until the clock reads `due`; b"" at the end."""
        timeout = None if due == float("inf") else max(0.0, due - self._runtime.now())
        self.chunks = await self._runtime.run_blocking(self._generation.next, timeout)
        return b"+" if self.chunks else b""

    async def read_all(self, due: float) -> bytes:
        """Nothing: an answer has no bytes."""
        return b""

    async def close(self, *, reuse: bool = False) -> None:
        """Stop the generation."""
        self._generation.stop()


class GenerationDecoder:
    """
    The chunks that `read` brought; see `penstock.provider.StreamDecoder`.

    Args:
        exchange: where they are.
        model: the model's name.
    """

    def __init__(self, exchange: GenerationExchange, model: str) -> None:
        self.complete = False
        self.ended = False
        self.model = model
        self.id = ""
        self.extra: Mapping[str, Any] = EMPTY
        self.upstream_id: str | None = None
        self._exchange = exchange

    def feed(self, data: bytes) -> Iterable[Chunk]:
        """The chunks of the last read."""
        chunks = self._exchange.chunks
        if chunks and chunks[-1].finish_reason is not None:
            self.complete = self.ended = True
        return chunks

    def close(self) -> Iterable[Chunk]:
        """Nothing is left; StreamInterrupted when the end never came."""
        if not self.complete:
            raise StreamInterrupted("the generation was stopped")
        return ()
