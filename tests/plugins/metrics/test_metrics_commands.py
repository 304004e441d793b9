"""`penstock metrics`, and the dashboard it prints."""

from __future__ import annotations

import json
import re
from typing import Any

from click.testing import CliRunner

from penstock_cli.main import cli
from penstock_metrics import shipped
from penstock_metrics.instruments import INSTRUMENTS


def test_rules_and_dashboard_are_printed_as_they_ship() -> None:
    for name, file in (("rules", "rules.yml"), ("dashboard", "dashboard.json")):
        result = CliRunner().invoke(cli, ["metrics", name])
        assert (result.exit_code, result.output) == (0, shipped(file))


def test_help_lists_the_commands() -> None:
    result = CliRunner().invoke(cli, ["metrics", "--help"])
    assert result.exit_code == 0
    assert re.search(r"dashboard\s+Print the dashboard", result.output)


def expressions(dashboard: dict[str, Any]) -> list[str]:
    return [
        target["expr"]
        for panel in dashboard["panels"]
        if panel["type"] != "row"
        for target in panel["targets"]
    ]


def test_the_dashboard_has_a_fixed_uid_and_asks_the_data_source_that_is_chosen() -> None:
    dashboard = json.loads(shipped("dashboard.json"))
    assert dashboard["uid"] == "penstock-overview"
    assert "id" not in dashboard
    names = [variable["name"] for variable in dashboard["templating"]["list"]]
    assert names == ["datasource", "provider", "model"]
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    sources = [thing["datasource"] for panel in panels for thing in (panel, *panel["targets"])]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
    assert all(panel["title"] and panel["description"] for panel in panels)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_the_dashboard_measures_rates_over_the_interval_of_the_screen() -> None:
    for expression in expressions(json.loads(shipped("dashboard.json"))):
        assert expression.count("rate(") == expression.count("[$__rate_interval]"), expression
        assert 'gen_ai_provider_name=~"$provider"' in expression


def test_every_metric_is_on_the_dashboard_and_no_other() -> None:
    text = json.dumps(expressions(json.loads(shipped("dashboard.json"))))
    asked = {
        re.sub(r"_(bucket|sum|count)$", "", name)
        for name in re.findall(r"\b(?:penstock|gen_ai_client)_\w+", text)
    }
    assert asked == {instrument.prometheus_name for instrument in INSTRUMENTS}


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(shipped("dashboard.json"))["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
