"""
Two targets asked at once: whoever answers first wins, the other is cut off.

Rules
1. Each runner is a coroutine beside the call (`runtime.spawn`), so the call itself can wait for a clock.
2. `stop` cancels every runner but the winner, closes what they had opened and waits for their unwinding, so
   that their permits are settled before the call goes on. A runner that takes too long to unwind is left to
   itself: it closes what it gets, and the stage cancels it when it is closed.
3. A runner that is cancelled before its first step runs no line of its own; it counts as over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.call import Call, Reply
    from penstock.runtime import Background, Event, Runtime
    from penstock.specs import Proceed

GRACE_SECONDS = 1.0
"""How long the call waits for a runner that was cut off."""


class Runner:
    """
    One of the two calls.

    Attributes:
        call: towards its target.
        reply: what it was answered with, None until then.
        error: what it failed with.
        over: neither can change any more.
    """

    __slots__ = ("_begun", "_ended", "_handle", "_stopped", "call", "error", "over", "reply", "seen")

    def __init__(self, call: Call, ended: Event) -> None:
        self.call = call
        self.reply: Reply | None = None
        self.error: BaseException | None = None
        self.over = False
        self.seen = False
        self._ended = ended
        self._handle: Background | None = None
        self._begun = False
        self._stopped = False

    def start(self, runtime: Runtime, proceed: Proceed, ring: Callable[[Runner], None]) -> None:
        """Run it beside the calls; `ring` is called when it is over."""
        self._handle = runtime.spawn(self._run(proceed, ring))

    async def _run(self, proceed: Proceed, ring: Callable[[Runner], None]) -> None:
        self._begun = True
        try:
            reply = await proceed(self.call)
            if self._stopped:
                await reply.close()
            else:
                self.reply = reply
        except BaseException as error:  # handed to the call that waits for it
            self.error = error
        finally:
            self.over = True
            self._ended.set()
            ring(self)

    def stop(self) -> None:
        """Cut it off; `unwound` closes what it had got."""
        self._stopped = True
        if not self.over and self._handle is not None:
            self._handle.cancel()
            if not self._begun:
                self.over = True

    async def unwound(self, due: float) -> None:
        """Close its reply, and wait until it is over or the clock reads `due`."""
        if self.reply is not None:
            await self.reply.close()
        elif not self.over:
            await self._ended.wait(due)


class Race:
    """
    The runners of one call.

    Args:
        runtime: runs them.
        crew: holds every runner of the client that is not over.
    """

    __slots__ = ("_bell", "_crew", "_runtime", "runners")

    def __init__(self, runtime: Runtime, crew: set[Runner]) -> None:
        self._runtime = runtime
        self._crew = crew
        self._bell: Event | None = None
        self.runners: list[Runner] = []

    def start(self, call: Call, proceed: Proceed) -> None:
        """Add a runner."""
        runner = Runner(call, self._runtime.event())
        self.runners.append(runner)
        self._crew.add(runner)
        runner.start(self._runtime, proceed, self._ring)

    async def next(self, due: float) -> Runner | None:
        """The next runner that is over, each once; None when the clock reads `due` before."""
        while True:
            for runner in self.runners:
                if runner.over and not runner.seen:
                    runner.seen = True
                    return runner
            if self._runtime.now() >= due:
                return None
            self._bell = self._runtime.event()
            await self._bell.wait(due)

    @property
    def running(self) -> bool:
        """Whether one is left that was not seen to be over."""
        return not all(runner.seen for runner in self.runners)

    async def stop(self, winner: Runner | None = None) -> None:
        """Cut off everyone but the winner; when this is cancelled too, the winner is closed as well."""
        losers = [runner for runner in self.runners if runner is not winner]
        for runner in losers:
            runner.stop()
            if runner.over:
                self._crew.discard(runner)
        due = self._runtime.now() + GRACE_SECONDS
        interrupted: BaseException | None = None
        for runner in losers * 2:  # a cancellation ends the wait; the losers are owed one all the same
            try:
                await runner.unwound(due)
            except BaseException as error:
                interrupted = error
        if interrupted is not None:
            if winner is not None and winner.reply is not None:
                await winner.reply.close()
            raise interrupted

    def _ring(self, runner: Runner) -> None:
        self._crew.discard(runner)
        if self._bell is not None:
            self._bell.set()
