"""Prices: hand-computed sums, the table, the catalogue, and what nobody knows."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.call import Target
from penstock.config import Settings
from penstock.errors import ConfigError
from penstock.responses import Usage
from penstock_cost import CostConfig, PriceBook, Rates
from penstock_cost.catalogue import rates_of
from penstock_cost.pricing import is_here

GPT_4O = Rates(
    input=Decimal("2.50") / 1_000_000,
    output=Decimal(10) / 1_000_000,
    cached=Decimal("1.25") / 1_000_000,
    reasoning=Decimal(20) / 1_000_000,
)
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
OPENAI = "https://api.openai.com/v1"


def book(**config: Any) -> PriceBook:
    settings = Settings.load({"cost": config}, environ={})
    return PriceBook(settings.section("cost", CostConfig), wall=lambda: NOON)


@pytest.mark.parametrize(
    ("usage", "dollars"),
    [
        (Usage(1000, 100), "0.0035"),  # 1000 * 2.50 / M + 100 * 10 / M
        (Usage(1000, 0), "0.0025"),
        (Usage(0, 0), "0"),
        (Usage(1000, 100, cached_tokens=400), "0.0030"),  # 600 * 2.50 + 400 * 1.25 + 100 * 10
        (Usage(1000, 100, cached_tokens=1000), "0.00225"),
        (Usage(1000, 100, reasoning_tokens=60), "0.0041"),  # 1000 * 2.50 + 40 * 10 + 60 * 20
        (Usage(1000, 100, 400, 60), "0.0036"),
        (Usage(347, 18, cached_tokens=403), "0.00061375"),  # more cached than sent: all of it is
        (Usage(10, 5, reasoning_tokens=50), "0.000125"),
        (Usage(8), "0.00002"),  # embeddings have no output
    ],
)
def test_a_cost_is_what_a_hand_computes(usage: Usage, dollars: str) -> None:
    assert GPT_4O.usd(usage) == Decimal(dollars)


def test_cached_and_reasoning_tokens_without_a_price_cost_like_the_rest() -> None:
    rates = Rates(input=Decimal(1), output=Decimal(2))
    assert rates.usd(Usage(10, 5, 4, 3)) == 20


def test_a_price_for_each_answer_is_added_once() -> None:
    assert Rates(input=Decimal(1), output=Decimal(1), request=Decimal("0.5")).usd(Usage(1, 1)) == Decimal(
        "2.5"
    )


def test_an_unknown_count_or_price_is_unknown_and_never_zero() -> None:
    assert GPT_4O.usd(Usage()) is None
    assert GPT_4O.usd(Usage(None, 5)) is None
    assert Rates(input=None, output=Decimal(1)).usd(Usage(1, 1)) is None
    assert Rates(input=Decimal(1), output=None).usd(Usage(1, 1)) is None
    assert Rates(input=Decimal(1), output=None).usd(Usage(1)) == 1


def test_a_long_prompt_has_the_price_of_its_tier_for_every_token() -> None:
    rates = Rates(
        input=Decimal(1),
        output=Decimal(10),
        tiers=(
            (100, Rates(input=Decimal(2), output=Decimal(20))),
            (200, Rates(input=Decimal(3), output=None)),
        ),
    )
    assert rates.usd(Usage(100, 1)) == 110
    assert rates.usd(Usage(101, 1)) == 222
    assert rates.usd(Usage(201, 0)) == 603
    assert rates.usd(Usage(201, 1)) is None


@given(
    given=st.integers(0, 10**7),
    made=st.integers(0, 10**6),
    cached=st.integers(0, 10**7),
    reasoning=st.integers(0, 10**6),
)
def test_parts_never_cost_more_than_the_dearest_price_for_everything(
    given: int, made: int, cached: int, reasoning: int
) -> None:
    usd = GPT_4O.usd(Usage(given, made, cached, reasoning))
    assert usd is not None
    assert 0 <= usd <= given * Decimal("0.0000025") + made * Decimal("0.00002")


# The table


@pytest.mark.parametrize("written", ["2.50/M", "$2.50 / M", "0.0025/K", "0.0000025/token", 2.5, "2.5"])
def test_a_price_can_be_written_in_several_ways(written: Any) -> None:
    price = book(prices={"openai/*": {"input": written}}).price(Target("openai", "x"))
    assert price.origin == "table"
    assert price.rates is not None
    assert price.rates.input == Decimal("0.0000025")


@pytest.mark.parametrize("written", ["cheap", "2.50/day", -1, True, "nan", float("inf"), [1]])
def test_what_is_no_price_is_a_configuration_error(written: Any) -> None:
    with pytest.raises(ConfigError, match=r"2\.50/M"):
        book(prices={"openai/*": {"input": written}})


def test_a_pattern_that_can_match_nothing_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="provider/model"):
        book(prices={"gpt-4o": {"input": 1}})


def test_the_most_literal_pattern_counts() -> None:
    prices = book(
        prices={
            "*": {"input": 1},
            "openai/*": {"input": 2},
            "openai/gpt-4o*": {"input": 3},
            "openai/gpt-4o-mini": {"input": 4},
        }
    )

    def millions(target: Target) -> Any:
        rates = prices.price(target).rates
        return rates.input * 1_000_000 if rates is not None and rates.input is not None else None

    assert millions(Target("openai", "gpt-4o-mini")) == 4
    assert millions(Target("openai", "gpt-4o-2024-08-06")) == 3
    assert millions(Target("openai", "o3")) == 2
    assert millions(Target("groq", "llama")) == 1


def test_the_table_counts_before_the_catalogue_and_before_local() -> None:
    prices = book(prices={"*": {"input": 7}})
    assert prices.price(Target("openai", "gpt-4o"), OPENAI).origin == "table"
    assert prices.price(Target("ollama", "llama3"), "http://127.0.0.1:11434").origin == "table"


# Local models


@pytest.mark.parametrize(
    "base_url",
    [
        "http://127.0.0.1:8000/v1",
        "http://localhost:11434",
        "http://[::1]:80",
        "http://127.9.9.9",
        "file:///m",
    ],
)
def test_a_model_on_this_machine_is_free_and_marked_so(base_url: str) -> None:
    price = book().price(Target("local", "m"), base_url)
    assert price.origin == "local"
    assert price.rates is not None
    assert price.rates.usd(Usage(10**6, 10**6)) == 0


@pytest.mark.parametrize(
    "base_url",
    ["http://10.0.0.1/v1", "http://localhost.example.com/v1", "http://127.0.0.1.example.com", "", "x"],
)
def test_other_addresses_are_not_this_machine(base_url: str) -> None:
    assert not is_here(base_url)


def test_a_model_that_ollama_passes_on_is_not_local() -> None:
    there = "http://127.0.0.1:11434"
    assert book().price(Target("ollama", "gpt-oss:120b-cloud"), there).rates is None
    assert book().price(Target("ollama", "gpt-oss:20b"), there).origin == "local"


def test_what_is_local_can_be_said() -> None:
    prices = book(local=["vllm/*"])
    assert prices.price(Target("vllm", "m"), "http://10.0.0.1/v1").origin == "local"
    assert prices.price(Target("gateway", "m"), "http://127.0.0.1/v1").rates is None


# The catalogue


def test_the_catalogue_is_found_by_the_provider_s_address() -> None:
    price = book().price(Target("mine", "gpt-4o"), OPENAI)
    assert (price.origin, price.vendor, price.model) == ("catalogue", "openai", "gpt-4o")
    assert price.rates is not None
    assert price.rates.usd(Usage(1000, 100, cached_tokens=400)) == Decimal("0.0030")
    assert price.context_window is not None


def test_an_address_nobody_knows_has_no_price_whatever_the_instance_is_called() -> None:
    assert book().price(Target("openai", "gpt-4o"), "https://llm.example.com/v1").rates is None


def test_whose_prices_count_can_be_said() -> None:
    prices = book(vendors={"gateway": "openai"})
    assert prices.price(Target("gateway", "gpt-4o"), "https://llm.example.com/v1").vendor == "openai"


def test_without_an_address_the_instance_s_name_is_taken() -> None:
    assert book().price(Target("openai", "gpt-4o-mini")).vendor == "openai"
    assert book().price(Target("nobody", "gpt-4o-mini")).rates is None


def test_models_of_hugging_face_s_router_have_their_seller_s_prices() -> None:
    router = "https://router.huggingface.co/v1"
    priced = book().price(Target("huggingface", "openai/gpt-oss-120b:groq"), router)
    assert priced.vendor == "huggingface_groq"
    assert book().price(Target("huggingface", "openai/gpt-oss-120b"), router).rates is None


def test_an_unknown_model_has_no_price() -> None:
    price = book().price(Target("openai", "no-such-model-4711"), OPENAI)
    assert (price.rates, price.origin) == (None, None)


def test_the_catalogue_can_be_switched_off() -> None:
    assert book(catalogue=False).price(Target("openai", "gpt-4o"), OPENAI).rates is None


def test_another_service_tier_has_another_price() -> None:
    prices = book()
    target = Target("openai", "gpt-5")
    usual, flex = prices.listed(target, OPENAI), prices.listed(target, OPENAI, "flex")
    assert usual.rates is not None
    assert flex.rates is not None
    assert flex.rates.usd(Usage(1000, 1000)) < usual.rates.usd(Usage(1000, 1000))  # type: ignore[operator]


def test_our_sums_are_those_of_the_catalogue_for_every_model_it_knows() -> None:
    """Text tokens only, which is what we count: the library's own arithmetic is the reference."""
    from genai_prices import Usage as TheirUsage
    from genai_prices.data_snapshot import get_snapshot

    compared = 0
    counts = [(1000, 100, 0), (1000, 100, 400), (300_000, 5000, 100_000)]
    for provider in get_snapshot().providers:
        for model in provider.models:
            price = model.get_prices(NOON)
            fields = {name: value for name, value in vars(price).items() if value is not None}
            rates = rates_of(fields)
            if rates is None or fields.keys() - {
                "input_mtok",
                "output_mtok",
                "cache_read_mtok",
                "cache_write_mtok",
                "cache_write_1h_mtok",
                "requests_kcount",
                "web_searches_kcount",
                "storage_searches_kcount",
            }:
                continue
            for given_tokens, made, cached in counts:
                ours = rates.usd(Usage(given_tokens, made, cached or None))
                theirs = price.calc_price(
                    TheirUsage(input_tokens=given_tokens, output_tokens=made, cache_read_tokens=cached)
                )["total_price"]
                if ours is None:
                    assert rates.output is None
                    continue
                assert ours == theirs, (provider.id, model.id, given_tokens)
                compared += 1
    assert compared > 2000


def test_prices_without_tokens_are_none() -> None:
    assert rates_of({"audio_hours": Decimal(1)}) is None
