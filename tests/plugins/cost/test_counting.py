"""Token counts: by tokenizers that work offline, by characters, by experience, and of what is no text."""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.call import Target
from penstock.errors import ConfigError, ContextLengthError
from penstock.messages import (
    ChatRequest,
    EmbedRequest,
    Image,
    Message,
    ModelsRequest,
    RawPart,
    Schema,
    Text,
    Tool,
    ToolCall,
)
from penstock.tokens import estimate_input
from penstock_cost import LearnedRatio, TokenCount, Tokenizers, count_tokens, fit, require_fit, tokenizers
from penstock_cost.counting import heuristic
from penstock_cost.families import family_of
from penstock_cost.images import ASSUMED, pixels


def chat(*contents: Any, **fields: Any) -> ChatRequest:
    messages = tuple(
        each if isinstance(each, Message) else Message("user", each) for each in contents or ("Hello",)
    )
    return ChatRequest(model="m", messages=messages, **fields)


def png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def jpeg(width: int, height: int) -> bytes:
    app = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    return b"\xff\xd8" + app + b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", height, width) + bytes(20)


# By characters


@pytest.mark.parametrize(
    "request_",
    [
        chat(),
        chat("word " * 100),
        chat("日本語のテキスト", "héllo wörld"),
        chat(Message("user", (Text("a"), Text("b" * 40)), name="ada")),
        chat(Message("assistant", None, tool_calls=(ToolCall("1", "f", '{"a": 1}'),))),
        EmbedRequest(model="m", inputs=("one", "two " * 50)),
    ],
)
def test_for_openai_s_models_the_count_is_the_core_s_estimate(request_: Any) -> None:
    count = count_tokens(request_, "some-model", "somebody")
    assert count.tokens == estimate_input(request_)
    assert count.method == "heuristic"
    assert "offline" in count.detail


def test_a_list_of_models_has_no_tokens() -> None:
    assert heuristic(ModelsRequest(), "m", "p") == 0


def test_families_differ_in_what_stands_around_messages_and_tools() -> None:
    tool = Tool("weather", "Get it", {"type": "object", "properties": {"city": {"type": "string"}}})
    plain, with_tool = chat(), chat(tools=(tool,))
    assert heuristic(plain, "meta-llama/Llama-3.3-70B-Instruct", "together") == 2 + 5 + 30
    assert heuristic(plain, "gpt-oss:20b", "ollama") > heuristic(plain, "gpt-4o", "openai") + 50
    extra = heuristic(with_tool, "claude-haiku-4.5", "openrouter") - heuristic(
        plain, "claude-haiku-4.5", "openrouter"
    )
    assert extra > 470


def test_a_provider_s_factor_counts_where_the_model_says_nothing() -> None:
    text = chat("word " * 1000)
    assert heuristic(text, "mystery", "openai") == 1250 + 6
    assert heuristic(text, "mystery", "ollama") == 1350 + 6


def test_schemas_count() -> None:
    schema = Schema("x", {"type": "object", "properties": {"name": {"type": "string"}}})
    assert heuristic(chat(schema=schema), "gpt-4o", "openai") > heuristic(chat(), "gpt-4o", "openai") + 10


def test_a_call_of_a_tool_and_its_result_bring_what_the_family_s_template_puts_around_them() -> None:
    tool = Tool("f", "", {"type": "object"})
    asked = Message("user", "Roll it")
    called = Message("assistant", None, tool_calls=(ToolCall("1", "f", "{}"),))
    answered = Message("tool", "4", tool_call_id="1")
    for model, around in (
        ("gpt-4o", 3),
        ("claude-haiku-4.5", 86),
        ("deepseek-chat", 35),
        ("gpt-oss:20b", 22),
    ):
        before = heuristic(chat(asked, tools=(tool,)), model, "p")
        after = heuristic(chat(asked, called, answered, tools=(tool,)), model, "p")
        texts = after - before - around - 2 * family_of(model).message
        assert 1 <= texts <= 2, model


@pytest.mark.parametrize(
    "extra",
    [
        {"reasoning": "t" * 400},
        {"reasoning_content": "t" * 400, "reasoning": "t" * 400},
        {"reasoning_details": [{"type": "reasoning.text", "text": "t" * 400}, {"data": "e" * 900}, 7]},
    ],
)
def test_reasoning_counts_while_its_calls_are_answered_and_no_longer(extra: dict[str, Any]) -> None:
    called = Message("assistant", None, tool_calls=(ToolCall("1", "f", "{}"),), extra=extra)
    plain = Message("assistant", None, tool_calls=(ToolCall("1", "f", "{}"),))
    asked, answered = Message("user", "Roll it"), Message("tool", "4", tool_call_id="1")

    def more(*behind: Message) -> int:
        with_it = heuristic(chat(asked, called, answered, *behind), "gpt-oss:20b", "p")
        return with_it - heuristic(chat(asked, plain, answered, *behind), "gpt-oss:20b", "p")

    assert more() == 100
    assert more(Message("assistant", "A four."), Message("user", "Again")) == 0


def test_one_count_beyond_all_bounds_does_not_drown_the_others() -> None:
    learned = LearnedRatio()
    for _ in range(30):
        learned.observe(1000, 1000)
    learned.observe(33, 16_924)  # pages that the provider searched, for a prompt of one line
    assert learned.ratio < 1.01


@given(st.text(max_size=300), st.sampled_from(["gpt-4o", "llama3.2", "gemini-2.5-flash", "qwen3"]))
def test_a_longer_text_never_has_fewer_tokens(text: str, model: str) -> None:
    shorter = heuristic(chat(text), model, "p")
    assert 0 < shorter <= heuristic(chat(text + "more"), model, "p")


# Images, sounds, files


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (png(640, 480), (640, 480)),
        (jpeg(1920, 1080), (1920, 1080)),
        (b"GIF89a" + struct.pack("<HH", 20, 30), (20, 30)),
        (b"RIFF....WEBPVP8X" + bytes(8) + b"\x0f\x00\x00\x1f\x00\x00", (16, 32)),
        (b"RIFF....WEBPVP8L" + bytes(5) + struct.pack("<I", 99 | 49 << 14), (100, 50)),
        (b"RIFF....WEBPVP8 " + bytes(10) + struct.pack("<HH", 64, 48), (64, 48)),
    ],
)
def test_the_size_of_an_image_is_read_from_its_bytes(data: bytes, size: tuple[int, int]) -> None:
    assert pixels(data) == size


@given(
    st.binary(max_size=64),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"RIFF....WEBPVP8X", b"GIF8"]),
)
def test_bytes_that_are_no_image_have_the_assumed_size_or_one(data: bytes, head: bytes) -> None:
    width, height = pixels(head + data)
    assert width >= 1
    assert height >= 1
    assert pixels(None) == ASSUMED


@pytest.mark.parametrize(
    ("model", "size", "detail", "tokens"),
    [
        ("gpt-4o", (1024, 1024), None, 765),  # the documented examples
        ("gpt-4o", (2048, 4096), None, 1105),
        ("gpt-4o", (4096, 8192), "low", 85),
        ("gpt-4o-mini", (512, 512), None, 8500),
        ("gpt-4.1-mini", (1024, 1024), None, 1659),
        ("claude-sonnet-4.5", (1000, 1000), None, 1334),
        ("gemini-2.5-flash", (384, 384), None, 258),
        ("gemini-2.5-flash", (1536, 768), None, 516),
    ],
)
def test_images_cost_what_their_vendors_document(
    model: str, size: tuple[int, int], detail: str | None, tokens: int
) -> None:
    image = Image.from_bytes(png(*size), detail=detail)
    with_image = heuristic(chat((Text("x"), image)), model, "p")
    assert with_image - heuristic(chat((Text("x"),)), model, "p") == tokens


def test_an_image_counts_alike_however_it_is_given() -> None:
    data = png(600, 600)
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    counts = {
        heuristic(chat((part,)), "gpt-4o", "openai")
        for part in (
            Image.from_bytes(data),
            Image.from_url(url),
            RawPart({"type": "image_url", "image_url": url}),
            RawPart({"type": "input_image", "image_url": {"url": url}}),
        )
    }
    assert len(counts) == 1


def test_encoded_bytes_are_no_text() -> None:
    data = base64.b64encode(bytes(96_000)).decode()
    sound = RawPart({"type": "input_audio", "input_audio": {"data": data, "format": "wav"}})
    assert heuristic(chat((sound,)), "gpt-4o", "openai") < 50  # two seconds of it
    file = RawPart({"type": "file", "file": {"file_data": f"data:application/pdf;base64,{data}"}})
    assert 250 < heuristic(chat((file,)), "gpt-4o", "openai") < 2000
    words = RawPart({"type": "note", "note": "word " * 400})
    assert heuristic(chat((words,)), "gpt-4o", "openai") > 500


# By a tokenizer


@pytest.fixture
def word_file(tmp_path: Path) -> str:
    """A tokenizer.json whose tokens are words."""
    library = pytest.importorskip("tokenizers")
    tokenizer = library.Tokenizer(library.models.WordLevel({"[UNK]": 0, "hello": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = library.pre_tokenizers.Whitespace()
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    return str(path)


def test_a_tokenizer_that_is_configured_counts(word_file: str) -> None:
    files = Tokenizers({"local/*": word_file})
    count = count_tokens(chat("hello there you"), "anything", "local", tokenizers=files)
    assert (count.tokens, count.method, count.detail) == (3 + 3 + 3, "tokenizer", "tokenizers")
    assert count_tokens(chat("hello"), "anything", "other", tokenizers=files).method == "heuristic"
    vectors = EmbedRequest(model="m", inputs=("a b", "c"))
    assert count_tokens(vectors, "anything", "local", tokenizers=files).tokens == 3


def test_a_tokenizer_s_file_that_cannot_be_read_is_a_configuration_error(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    path = tmp_path / "broken.json"
    path.write_text("{}")
    with pytest.raises(ConfigError, match=r"cost\.tokenizers"):
        count_tokens(chat(), "m", "local", tokenizers=Tokenizers({"*": str(path)}))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever would fetch ranks fails the test."""
    from tiktoken import load

    def fetch(path: str) -> bytes:
        if "://" in path:
            pytest.fail("the network was asked for ranks")
        return Path(path).read_bytes()

    monkeypatch.setattr(load, "read_file", fetch)
    tokenizers._loaded.cache_clear()
    yield
    tokenizers._loaded.cache_clear()


@pytest.mark.usefixtures("no_network")
def test_without_ranks_on_this_machine_tiktoken_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    count = count_tokens(chat(), "gpt-4o", "openai")
    assert count.method == "heuristic"
    assert "offline" in count.detail


@pytest.mark.usefixtures("no_network")
def test_ranks_that_are_on_this_machine_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Made-up ranks, each byte a token, in the place where tiktoken keeps the real ones."""
    from tiktoken import load

    asked: list[str] = []
    real = tokenizers._ranks

    def remember(address: str, expected_hash: str | None = None) -> Any:
        asked.append(address)
        (tmp_path / hashlib.sha1(address.encode()).hexdigest()).write_bytes(
            b"\n".join(base64.b64encode(bytes([byte])) + b" %d" % byte for byte in range(256))
        )
        return real(address, expected_hash)

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tokenizers, "_ranks", remember)
    monkeypatch.setattr(load, "check_hash", lambda data, expected: True)
    count = count_tokens(chat("hello"), "gpt-4o-mini", "openai")
    assert (count.tokens, count.method) == (3 + 3 + 5, "tokenizer")
    assert count.detail.startswith("tiktoken:")
    assert len(asked) == 1


@pytest.mark.usefixtures("no_network")
def test_ranks_with_another_hash_are_not_believed_and_not_fetched_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tokenizers, "_ranks", _planting(tokenizers._ranks, tmp_path))
    assert count_tokens(chat(), "gpt-4o", "openai").method == "heuristic"


def _planting(real: Any, folder: Path) -> Any:
    def plant(address: str, expected_hash: str | None = None) -> Any:
        (folder / hashlib.sha1(address.encode()).hexdigest()).write_bytes(b"tampered")
        return real(address, expected_hash)

    return plant


# By experience


def test_experience_moves_the_ratio_gently_and_then_fully() -> None:
    learned = LearnedRatio()
    assert learned.ratio == 1
    learned.observe(10, 30)
    assert 1 < learned.ratio < 1.2
    for _ in range(200):
        learned.observe(1000, 1500)
    assert learned.ratio == pytest.approx(1.5, abs=0.01)
    for _ in range(200):
        learned.observe(1000, 900)
    assert learned.ratio == pytest.approx(0.9, abs=0.05)


def test_no_ratio_is_absurd() -> None:
    learned = LearnedRatio()
    for _ in range(100):
        learned.observe(1000, 10**6)
    assert 3.9 < learned.ratio <= 4
    learned.observe(0, 5)
    learned.observe(5, 0)
    assert learned.seen == 100


def test_a_count_uses_experience() -> None:
    assert count_tokens(chat("word " * 100), "m", "p", ratio=2.0).tokens == 262


# Windows


def test_only_a_count_that_is_sure_refuses_a_request() -> None:
    request = chat(max_tokens=100)
    assert fit(request, TokenCount(1000, "exact"), 1100).fits
    assert not fit(request, TokenCount(1001, "exact"), 1100).fits
    assert fit(request, TokenCount(1300, "heuristic"), 1100).fits
    assert not fit(request, TokenCount(1400, "heuristic"), 1100).fits
    assert fit(request, TokenCount(1300, "heuristic"), 1100).room == 0
    assert fit(chat(), TokenCount(100, "exact"), 1000).room == 900
    with pytest.raises(ContextLengthError, match="nothing was sent"):
        require_fit(request, TokenCount(2000, "tokenizer"), 1100, "openai/x")


def test_the_family_of_a_name_is_found_wherever_it_stands() -> None:
    assert family_of("accounts/x/models/deepseek-r1") is family_of("deepseek-chat")
    assert family_of("nobody-knows") is family_of("gpt-4o")
    assert Target("a", "b") == ("a", "b")
