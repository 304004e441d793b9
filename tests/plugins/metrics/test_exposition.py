"""Prometheus' text, to the letter."""

from __future__ import annotations

from penstock.call import Target
from penstock.redaction import Redactor
from penstock_metrics import instruments
from penstock_metrics.book import Book, Point
from penstock_metrics.cells import Tally
from penstock_metrics.exposition import exposition


def collected(*targets: Target) -> Book:
    return Book(max_targets=10, redactor=Redactor(), opened=lambda: None, wall=lambda: 0.0)


def test_a_counter_has_a_description_a_type_and_a_line_for_each_series() -> None:
    book = collected()
    book.page(Target("openai", "gpt")).add(instruments.COST, "calculated", amount=0.25)
    book.page(Target("openai", "gpt")).add(instruments.COST, "reported", amount=2)
    assert exposition(book.collect()) == (
        "# HELP penstock_cost_usd_total Cost of answered calls in US dollars.\n"
        "# TYPE penstock_cost_usd_total counter\n"
        'penstock_cost_usd_total{gen_ai_provider_name="openai",gen_ai_request_model="gpt",'
        'source="calculated"} 0.25\n'
        'penstock_cost_usd_total{gen_ai_provider_name="openai",gen_ai_request_model="gpt",'
        'source="reported"} 2\n'
    )


def test_a_histogram_cumulates_its_buckets() -> None:
    book = collected()
    for value in (0.01, 0.011, 3.0, 100.0):
        book.page(Target("o", "m")).record(instruments.QUEUE_TIME, value)
    lines = exposition(book.collect()).splitlines()[2:]
    name, labels = (
        "penstock_rate_limiter_queue_time_seconds",
        'gen_ai_provider_name="o",gen_ai_request_model="m"',
    )
    assert lines[0] == f'{name}_bucket{{{labels},le="0.01"}} 1'
    assert lines[1] == f'{name}_bucket{{{labels},le="0.02"}} 2'
    assert lines[9] == f'{name}_bucket{{{labels},le="5.12"}} 3'
    assert lines[14:] == [
        f'{name}_bucket{{{labels},le="+Inf"}} 4',
        f"{name}_sum{{{labels}}} 103.021",
        f"{name}_count{{{labels}}} 4",
    ]


def test_the_bounds_of_tokens_are_whole_numbers() -> None:
    book = collected()
    book.page(Target("o", "m")).record(instruments.TOKEN_USAGE, 70_000_000, "input")
    text = exposition(book.collect())
    assert 'le="67108864"} 0' in text
    assert 'le="+Inf"} 1' in text


def test_labels_are_escaped() -> None:
    tally = Tally()
    text = exposition([(instruments.COST, [Point({"a.b": 'one "two" \\ three\nfour'}, tally)])])
    assert text.splitlines()[-1] == r'penstock_cost_usd_total{a_b="one \"two\" \\ three\nfour"} 0'


def test_what_has_no_value_is_not_shown() -> None:
    assert exposition(collected().collect()) == ""
    tally = Tally()
    assert exposition([(instruments.COST, [Point({}, tally)])]).endswith("\npenstock_cost_usd_total 0\n")
