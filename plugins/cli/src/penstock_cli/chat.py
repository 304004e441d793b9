"""
`penstock chat`: one question, or a conversation.

The answer goes to stdout, everything else (errors, the trace, notes) to stderr. On a terminal the model's
words are stripped of what would steer it; into a pipe they go unchanged.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock_cli.client import config_options, open_client
from penstock_cli.failure import masked
from penstock_cli.main import debug_option
from penstock_cli.parameters import content_of, parse_parameters, read_schema

if TYPE_CHECKING:
    from penstock import Answer, Client
    from penstock_cli.terminal import Sanitizer
    from penstock_cli.trace import Trace

NOTES = {
    "length": "the answer was cut off: the limit of tokens is reached",
    "content_filter": "the provider's content filter ended the answer",
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model")
@click.argument("prompt", required=False)
@click.option("--no-stream", is_flag=True, help="Wait for the whole answer.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--trace", "traced", is_flag=True, help="Show attempts, waits and where the time went.")
@click.option("--system", metavar="TEXT", help="Instructions for the model.")
@click.option("--image", "images", multiple=True, metavar="PATH", help="An image file or URL; repeatable.")
@click.option("--temperature", type=float, metavar="NUMBER")
@click.option("--max-tokens", type=int, metavar="NUMBER")
@click.option("--timeout", type=float, metavar="SECONDS", help="For the whole call, retries included.")
@click.option(
    "-p",
    "--param",
    "pairs",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other parameter, the value as JSON or text; extra.KEY goes to the provider as it is.",
)
@click.option(
    "--schema",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A JSON Schema the answer must fit.",
)
@config_options
@debug_option
def chat(
    model: str,
    prompt: str | None,
    *,
    no_stream: bool,
    as_json: bool,
    traced: bool,
    system: str | None,
    images: tuple[str, ...],
    temperature: float | None,
    max_tokens: int | None,
    timeout: float | None,
    pairs: tuple[str, ...],
    schema: Path | None,
    config: Path | None,
    profile: str | None,
) -> None:
    """
    Ask MODEL a question, or talk with it.

    MODEL is provider/model, a route, or a bare name. The PROMPT comes from the argument, from stdin when it
    is piped or PROMPT is "-", or from you: without either a conversation begins, in which Ctrl-C stops an
    answer and Ctrl-D leaves.
    """
    parameters = parse_parameters(pairs)
    options: dict[str, Any] = {
        "temperature": temperature,
        "max_tokens": max_tokens,
        "timeout": timeout,
        "schema": read_schema(schema),
    }
    parameters |= {name: value for name, value in options.items() if value is not None}
    prompt = _prompt(prompt, images)
    if prompt is None and as_json:
        raise click.UsageError("--json needs a PROMPT, as argument or on stdin")
    content = None if prompt is None else content_of(prompt, images)
    trace = _trace() if traced else None
    with open_client(config, profile, trace) as client:
        ask = Ask(client, model, parameters, streamed=not no_stream, trace=trace)
        messages = [{"role": "system", "content": system}] if system else []
        if content is None:
            from penstock_cli.conversation import converse

            converse(ask, messages, images)
        else:
            ask.once([*messages, {"role": "user", "content": content}], as_json=as_json)


def _prompt(prompt: str | None, images: tuple[str, ...]) -> str | None:
    """The prompt, None when a person is to be asked for it."""
    if prompt is None and sys.stdin.isatty():
        return None
    if prompt is None or prompt == "-":
        prompt = sys.stdin.read().rstrip("\n")
    if not prompt.strip() and not images:
        raise click.UsageError("the prompt is empty")
    return prompt


def _trace() -> Trace:
    from penstock_cli.trace import Trace

    return Trace()


class Ask:
    """
    How one command asks: a client, a model, parameters, and where the answer goes.

    Args:
        client: who asks.
        model: who is asked.
        parameters: for every call.
        streamed: show the answer while it is written.
        trace: a listener of the client to be shown after each call, or None.
    """

    def __init__(
        self, client: Client, model: str, parameters: dict[str, Any], *, streamed: bool, trace: Trace | None
    ) -> None:
        self._client = client
        self._model = model
        self._parameters = parameters
        self._streamed = streamed
        self._trace = trace
        self.said = ""
        """What was shown of the last answer, whole or not."""

    def once(self, messages: list[Any], *, as_json: bool = False) -> Answer:
        """
        Ask and show the answer.

        Raises:
            PenstockError: there is no answer, or only a part of one, which was shown.
        """
        self.said = ""
        parameters = dict(self._parameters)
        try:
            if self._streamed:
                answer = self._stream(messages, parameters, quiet=as_json)
            else:
                answer = self._client.chat(self._model, messages, **parameters)
            if as_json:
                self._print_json(answer)
            else:
                self._print_rest(answer)
        finally:
            if self._trace is not None:
                self._trace.show()
        return answer

    def _stream(self, messages: list[Any], parameters: dict[str, Any], *, quiet: bool) -> Answer:
        with self._client.stream(self._model, messages, **parameters) as stream:
            if quiet:
                return stream.read()
            shown = _Shown(self)
            try:
                for chunk in stream:
                    if chunk.reset:
                        shown.again()
                    if chunk.choice == 0:
                        shown.reasoning(chunk.reasoning)
                        shown.text(chunk.text or chunk.refusal)
            finally:
                shown.end()
            return stream.answer

    def _print_rest(self, answer: Answer) -> None:
        """What a stream has not shown: everything of a plain answer, tool calls, notes."""
        if not self._streamed:
            shown = _Shown(self)
            shown.reasoning(answer.reasoning)
            shown.text(answer.text or answer.refusal)
            shown.end()
        for call in answer.tool_calls:
            click.echo(_for_stdout(f"{call.name}({call.arguments})"))
        note = NOTES.get(answer.finish_reason or "")
        if note:
            click.echo(f"note: {note}", err=True)

    @staticmethod
    def _print_json(answer: Answer) -> None:
        import json

        from penstock_cli.document import document

        # ASCII escapes keep control characters and lone surrogates out of the terminal.
        click.echo(json.dumps(document(answer, masked), indent=2))


class _Shown:
    """The one place where a model's words are written."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._terminal = sys.stdout.isatty()
        self._text, self._reasoning = self._fresh()
        self._thinking = False
        self._last = ""

    @staticmethod
    def _fresh() -> tuple[Sanitizer, Sanitizer]:
        """For the text and the reasoning of one answer."""
        from penstock_cli.terminal import Sanitizer

        return Sanitizer(), Sanitizer()

    def reasoning(self, piece: str) -> None:
        """The model's reasoning: dim, and only for a person."""
        if piece and self._terminal:
            self._thinking = True
            self._write(click.style(self._reasoning.feed(piece), dim=True))

    def text(self, piece: str) -> None:
        """The next piece of the answer."""
        if not piece:
            return
        if self._thinking:
            self._thinking = False
            self._write("\n\n")
        self._ask.said += piece
        self._write(self._text.feed(piece) if self._terminal else piece)

    def again(self) -> None:
        """What was shown does not count: another target begins the answer anew."""
        self.end()
        self._ask.said, self._thinking, self._last = "", False, ""
        self._text, self._reasoning = self._fresh()
        click.echo("note: the stream broke; another target begins the answer anew", err=True)

    def end(self) -> None:
        """End the line, if there is one."""
        if self._last and not self._last.endswith("\n"):
            self._write("\n")

    def _write(self, text: str) -> None:
        if text:
            self._last = text
            sys.stdout.write(text)
            sys.stdout.flush()


def _for_stdout(text: str) -> str:
    if not sys.stdout.isatty():
        return text
    from penstock_cli.terminal import plain

    return plain(text)
