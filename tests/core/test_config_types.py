from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from penstock.config import Bytes, Config, Rate, Seconds, StageConfig, undescribed


class Model(Config):
    wait: Seconds = Field(default=1.0, description="Waiting.")
    size: Bytes = Field(default=1, description="Size.")
    rate: Rate = Field(default=Rate(1), description="Rate.")


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (0, 0.0),
        (2, 2.0),
        (1.5, 1.5),
        ("60", 60.0),
        ("500ms", 0.5),
        ("70ms", 0.07),
        ("20s", 20.0),
        (" 20 s ", 20.0),
        ("0.5h", 1800.0),
        ("5m", 300.0),
        ("5min", 300.0),
        ("1h", 3600.0),
        ("2d", 172_800.0),
        (timedelta(minutes=1), 60.0),
        (float("inf"), float("inf")),
    ],
)
def test_a_duration_is_read_as_seconds(written: Any, seconds: float) -> None:
    wait = Model.model_validate({"wait": written}).wait
    assert wait == seconds
    assert type(wait) is float


@pytest.mark.parametrize(
    "wrong", [-1, "-1s", "soon", "", "5 parsecs", "1h30", True, None, [], float("nan"), 10**400]
)
def test_what_is_no_duration_is_refused_with_examples(wrong: Any) -> None:
    with pytest.raises(ValidationError, match="expected a duration such as 500ms"):
        Model.model_validate({"wait": wrong})


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (0, 0),
        (4096, 4096),
        (1e6, 1_000_000),
        ("4096", 4096),
        ("12B", 12),
        ("1KB", 1000),
        ("1 kib", 1024),
        ("64MiB", 64 * 1024**2),
        ("1.5GiB", 1_610_612_736),
        ("2TB", 2 * 10**12),
    ],
)
def test_a_size_is_read_as_bytes(written: Any, size: int) -> None:
    found = Model.model_validate({"size": written}).size
    assert found == size
    assert type(found) is int


@pytest.mark.parametrize("wrong", [-1, 0.5, "0.5B", "64M", "big", True, float("inf"), 10**400])
def test_what_is_no_size_is_refused_with_examples(wrong: Any) -> None:
    with pytest.raises(ValidationError, match="expected a size such as 512KB or 64MiB"):
        Model.model_validate({"size": wrong})


@pytest.mark.parametrize(
    ("written", "count", "per"),
    [
        ("10/s", 10.0, 1.0),
        ("30000/min", 30_000.0, 60.0),
        ("30000/m", 30_000.0, 60.0),
        ("5/h", 5.0, 3600.0),
        ("0.5 / d", 0.5, 86_400.0),
        ("7", 7.0, 1.0),
        (7, 7.0, 1.0),
        (0.25, 0.25, 1.0),
        (Rate(3, 10), 3.0, 10.0),
    ],
)
def test_a_rate_is_a_count_and_a_time(written: Any, count: float, per: float) -> None:
    rate = Model.model_validate({"rate": written}).rate
    assert rate == Rate(count, per)
    assert rate.per_second == count / per


@pytest.mark.parametrize("wrong", [0, -1, "0/s", "10/week", "ten/s", "/s", True, None, float("inf")])
def test_what_is_no_rate_is_refused_with_examples(wrong: Any) -> None:
    with pytest.raises(ValidationError, match="expected a rate such as 10/s"):
        Model.model_validate({"rate": wrong})


@pytest.mark.parametrize(
    ("rate", "text"), [(Rate(10), "10/s"), (Rate(30_000, 60), "30000/min"), (Rate(3, 10), "3/10 s")]
)
def test_a_rate_prints_as_it_is_written(rate: Rate, text: str) -> None:
    assert str(rate) == text
    assert Model(rate=rate).model_dump_json() == f'{{"wait":1.0,"size":1,"rate":"{text}"}}'


def test_no_message_of_a_type_echoes_the_value() -> None:
    secret = "sk-not-a-number-of-anything"
    with pytest.raises(ValidationError) as caught:
        Model.model_validate({"wait": secret, "size": secret, "rate": secret})
    assert secret not in str(caught.value)
    assert caught.value.error_count() == 3


def test_a_limit_can_be_put_around_a_duration() -> None:
    class Limited(Config):
        wait: Annotated[Seconds, Field(gt=0, le=60)] = Field(default=1.0, description="Waiting.")

    assert Limited.model_validate({"wait": "1m"}).wait == 60.0
    with pytest.raises(ValidationError, match="less than or equal to 60"):
        Limited.model_validate({"wait": "2m"})


def test_a_configuration_is_frozen_and_strict_about_names() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Model().wait = 2.0
    with pytest.raises(ValidationError, match="Extra inputs"):
        Model.model_validate({"wiat": 1})


def test_a_stage_can_be_switched_off() -> None:
    assert StageConfig().enabled is True
    assert StageConfig.model_validate({"enabled": False}).enabled is False


def test_a_field_without_a_description_is_found_at_any_depth() -> None:
    class Inner(Config):
        bare: int = 1

    class Outer(Config):
        naked: int = 1
        dressed: Inner = Field(default=Inner(), description="Inside.")

    assert undescribed(Outer) == ["naked", "dressed.bare"]
    assert undescribed(Model) == []
