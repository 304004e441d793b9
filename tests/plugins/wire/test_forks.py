from __future__ import annotations

import threading

from penstock_wire import forks


def test_a_lock_that_another_thread_held_in_the_parent_is_free_in_the_child() -> None:
    lock = forks.ProcessLock()
    with lock:
        forks._after_fork()  # what the child runs first
        entered = threading.Event()

        def enter() -> None:
            with lock:
                entered.set()

        thread = threading.Thread(target=enter, daemon=True)
        thread.start()
        assert entered.wait(30)
        thread.join(30)
        lock._lock.acquire()  # what leaving the block gives back
