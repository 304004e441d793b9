"""
The same budgets for functions that have nothing to do with models.

    spending = budgeted(limit="5.00", window="1d", estimate="0.02")

    @spending                                   # `async def` works alike
    def translate(text: str) -> str: ...

    with spending.hold("0.10") as hold:         # also inside a coroutine: nothing waits
        hold.settle(Decimal("0.04"))

One object is one budget, shared by everything it decorates and holds, in threads and event loops alike.
"""

from __future__ import annotations

import functools
import inspect
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, ParamSpec, TypeVar, cast

from penstock.errors import BudgetExhausted
from penstock_cost.budget import Account, Budgets, Hold, Refusal

P = ParamSpec("P")
T = TypeVar("T")
Money = Decimal | int | float | str


class budgeted:  # noqa: N801  # used as a decorator, like `contextlib.suppress`
    """
    Keep spending within a budget.

    Args:
        limit: US dollars in the window.
        window: seconds, or a text such as "1d"; None for ever.
        estimate: dollars to reserve for a call of what is decorated.
        cost: what a call really cost, from its result; None takes the estimate.
        name: of the budget, for messages.
        clock: replaceable for tests.

    Raises:
        BudgetExhausted: by what is decorated or held; nothing was done, `retry_after` in seconds.
        ValueError: a value that cannot work.
    """

    def __init__(
        self,
        limit: Money,
        window: float | str | None = None,
        *,
        estimate: Money = 0,
        cost: Callable[[Any], Money] | None = None,
        name: str = "budgeted",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._account = Account(name, _money(limit), _seconds(window))
        self._budgets = Budgets()
        self._estimate = _money(estimate)
        self._cost = cost
        self._clock = clock

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Decorate a function or a coroutine function."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def kept_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self.hold(self._estimate) as hold:
                    result = await function(*args, **kwargs)
                    self._settle(hold, result)
                    return result

            return cast("Callable[P, T]", kept_async)

        @functools.wraps(function)
        def kept(*args: P.args, **kwargs: P.kwargs) -> T:
            with self.hold(self._estimate) as hold:
                result = function(*args, **kwargs)
                self._settle(hold, result)
                return result

        return kept

    @contextmanager
    def hold(self, estimate: Money) -> Iterator[Hold]:
        """
        Reserve an amount for a block: settled by `hold.settle(dollars)`, else with the estimate at the
        block's end, and given back when the block raises.
        """
        found = self._budgets.reserve(self._clock(), [self._account], _money(estimate))
        if isinstance(found, Refusal):
            wait = found.wait if found.wait < math.inf else None
            raise BudgetExhausted(
                f"the budget {self._account.name!r} of ${self._account.limit} has no room for "
                f"${_money(estimate)}" + (f"; room in about {wait:.3g} s" if wait is not None else ""),
                stage=self._account.name,
                retry_after=wait,
            )
        try:
            yield found
        except BaseException:
            found.release()
            raise
        found.keep()

    def left(self) -> Decimal:
        """Dollars that may still be reserved."""
        return self._budgets.left(self._clock(), self._account)

    def spent(self) -> Decimal:
        """Dollars settled since this was made."""
        return self._account.spent

    def reset(self) -> None:
        """Forget what was used."""
        self._budgets.clear([self._account])

    def _settle(self, hold: Hold, result: Any) -> None:
        if self._cost is not None:
            hold.settle(_money(self._cost(result)))


def _money(value: Money) -> Decimal:
    amount = Decimal(str(value).removeprefix("$"))
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"expected US dollars, not {value!r}")
    return amount


def _seconds(window: float | str | None) -> float | None:
    if window is None:
        return None
    if isinstance(window, str):
        from pydantic import TypeAdapter

        from penstock.config import Seconds

        window = float(TypeAdapter(Seconds).validate_python(window))
    if not window > 0:
        raise ValueError(f"window must be seconds above zero, not {window!r}")
    return None if window == math.inf else float(window)
