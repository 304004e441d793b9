"""A conversation on the terminal: it keeps its history, Ctrl-C stops an answer, Ctrl-D leaves."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import click

from penstock_cli.failure import report
from penstock_cli.parameters import content_of

if TYPE_CHECKING:
    from penstock_cli.chat import Ask

PROMPT = "> "


def converse(ask: Ask, messages: list[Any], images: tuple[str, ...]) -> None:
    """
    Talk until the end of input.

    Args:
        ask: who asks whom, and shows the answers.
        messages: what the conversation begins with; grows with it.
        images: go with the first question.

    A question without an answer leaves no trace in the history, so that it can be asked again; an answer
    that was stopped stays as far as it was read.
    """
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # the import alone gives `input` editing and a history
    while True:
        try:
            question = input(PROMPT)
        except EOFError:
            click.echo()
            return
        except KeyboardInterrupt:
            click.echo()
            continue
        if not question.strip():
            continue
        messages.append({"role": "user", "content": content_of(question, images)})
        if _answered(ask, messages):
            images = ()
        else:
            messages.pop()


def _answered(ask: Ask, messages: list[Any]) -> bool:
    """Ask with what was said so far, and add the answer to it; whether there is one."""
    from penstock import PenstockError

    try:
        answer = ask.once(messages)
    except KeyboardInterrupt:
        click.echo("(stopped)", err=True)
    except PenstockError as error:
        report(error, debug=bool(click.get_current_context().meta.get("penstock.debug")))
    else:
        messages.append(answer.message)
        return True
    if ask.said:
        messages.append({"role": "assistant", "content": ask.said})
    return bool(ask.said)
