"""
What every provider must do, as tests to inherit.

    class TestMine(ProviderConformance):
        spec = SPEC                              # what the plugin registers
        dialect = MyDialect()                    # how the simulator answers it; OpenAI's when left out
        base_url = "http://simulator.test"       # where that dialect is spoken; .../v1 when left out

Further attributes are those of `ProviderScenarios`: `config` for more values of the configuration, `model`,
`errors` where the provider's own words mean another class of error, `lacks` and `granted` for what differs in
this configuration. What the spec's `capabilities` do not promise is skipped with that reason. A test that
cannot hold is named in `overrides` with its reason (see `standard.py`); replacing or removing one without a
reason fails.

Import this from tests only: it needs pytest. For readable failures, name `penstock_testkit.standard` and the
modules `penstock_testkit.provider_*` to `pytest.register_assert_rewrite` in a conftest.
"""

from __future__ import annotations

from penstock_testkit.provider_answers import AnswerConformance, EncodingConformance, UsageConformance
from penstock_testkit.provider_calls import CallConformance, PurityConformance, SecretConformance
from penstock_testkit.provider_failures import (
    BoundConformance,
    BrokenAnswerConformance,
    RefusalConformance,
)


class ProviderConformance(
    EncodingConformance,
    AnswerConformance,
    UsageConformance,
    RefusalConformance,
    BrokenAnswerConformance,
    BoundConformance,
    CallConformance,
    SecretConformance,
    PurityConformance,
    standard=True,
):
    """What every provider must do."""
