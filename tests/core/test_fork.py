"""A client that existed before a fork works on both sides of it, with connections of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from penstock_testkit import Simulator

SCRIPT = """
import os, sys
from penstock import Client

def ask(question):
    with client.stream("openai/gpt-4o", question) as stream:
        assert question in stream.read().text, question

providers = {"openai": {"api_key": "sk-test-0123456789", "base_url": sys.argv[1]}}
client = Client(False, environ={}, pipeline=["retry", "breaker", "limiter"], providers=providers)
ask("before")
child = os.fork()
side = "parent" if child else "child"
for number in range(5):
    ask(f"{side} {number}")
client.close()
if not child:
    os._exit(7)
sys.exit(0 if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7 else 1)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_client_is_used_on_both_sides_of_a_fork() -> None:
    simulator = Simulator()
    with simulator.serve() as server:
        command = [sys.executable, "-W", "error", "-c", SCRIPT, server.url]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")
    assert simulator.count() == 11
