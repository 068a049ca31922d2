"""The book's prices against PyPI `genai-prices`, an independent and dated catalogue.

Where the two differ the oracle is known to be wrong or too coarse: then our value is asserted, and
the test says why. Needs the binary at $TOLLGATE_BIN (or target/release).
"""

import datetime as dt
import json
import os
import pathlib
import subprocess
from decimal import Decimal

import genai_prices
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("TOLLGATE_BIN", ROOT / "target/release/tollgate"))

HIT, MISS, OUTPUT = 1_000_000, 3_000_000, 2_000_000


def ours(target, instant, known_at="2026-11-24"):
    command = [BINARY, "price", target, "--at", instant, "--known-at", known_at, "--json"]
    counts = ["--cache-hit", str(HIT), "--cache-miss", str(MISS), "--output", str(OUTPUT)]
    done = subprocess.run(command + counts, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def theirs(provider, model, instant):
    usage = genai_prices.Usage(input_tokens=HIT + MISS, cache_read_tokens=HIT, output_tokens=OUTPUT)
    moment = dt.datetime.fromisoformat(instant)
    price = genai_prices.calc_price(usage, model_ref=model, provider_id=provider, genai_request_timestamp=moment)
    return price.total_price


def rates(answer):
    return tuple(Decimal(answer["rates"][kind]) for kind in ("cache_hit", "cache_miss", "output"))


def dollars(*texts):
    return tuple(Decimal(text) for text in texts)


WORKING_DAYS = ["2026-09-22", "2026-10-12", "2026-11-24"]


@pytest.mark.parametrize("hour", range(24))
@pytest.mark.parametrize("day", WORKING_DAYS)
@pytest.mark.parametrize("model", ["deepseek-v4-pro", "deepseek-v4-flash", "deepseek-flash"])
def test_every_hour_of_a_working_day_since_september_costs_what_the_oracle_says(model, day, hour):
    instant = f"{day}T{hour:02}:30:00+00:00"
    found = ours(f"deepseek/{model}", instant)
    assert Decimal(found["cost"]) == theirs("deepseek", model, instant)


@pytest.mark.parametrize("model", ["deepseek-v4-pro", "deepseek-v4-flash"])
@pytest.mark.parametrize("instant", ["2026-06-15T12:00:00+00:00", "2026-08-10T05:00:00+00:00", "2026-08-18T12:00:00+00:00"])
def test_the_list_before_september_agrees_outside_the_hours_that_are_now_peak(model, instant):
    found = ours(f"deepseek/{model}", instant)
    assert Decimal(found["cost"]) == theirs("deepseek", model, instant)


FLAT = [
    ("fireworks", "deepseek-v4.1-flash-0910", "fireworks", "accounts/fireworks/models/deepseek-v4p1-flash"),
    ("fireworks", "deepseek-v4.1-flash-1017", "fireworks", "accounts/fireworks/models/deepseek-v4p1-flash-1017"),
    ("fireworks", "accounts/fireworks/routers/deepseek-v4p1-flash-us", "fireworks", "accounts/fireworks/routers/deepseek-v4p1-flash-us"),
    ("together", "deepseek-v4-pro", "together", "deepseek-ai/DeepSeek-V4-Pro-0813"),
    ("together", "deepseek-v4.1-flash", "together", "deepseek-ai/DeepSeek-V4.1-Flash"),
    ("novita", "deepseek-v4-pro-preview", "novita", "deepseek/deepseek-v4-pro"),
    ("novita", "deepseek-v4-flash-0731", "novita", "deepseek/deepseek-v4-flash-0731"),
    ("novita", "deepseek-v4.1-flash", "novita", "deepseek/deepseek-v4.1-flash"),
]


@pytest.mark.parametrize("host, model, provider, oracle_model", FLAT)
def test_flat_hosts_cost_what_the_oracle_says(host, model, provider, oracle_model):
    instant = "2026-11-24T02:00:00+00:00"
    found = ours(f"{host}/{model}", instant)
    assert Decimal(found["cost"]) == theirs(provider, oracle_model, instant)


def test_fireworks_preview_agrees_while_it_was_served():
    instant = "2026-06-15T02:00:00+00:00"
    found = ours("fireworks/deepseek-v4-pro", instant)
    assert Decimal(found["cost"]) == theirs("fireworks", "accounts/fireworks/models/deepseek-v4-pro", instant)


# Where the oracle is wrong.

KNOWN_WRONG = [
    # Peak hours have no weekday in the oracle; DeepSeek's are Monday to Friday since 2026-08-22T16:00Z.
    ("deepseek/deepseek-v4-pro", "2026-08-29T02:00:00+00:00", ("0.022", "0.66", "1.98")),
    ("deepseek/deepseek-v4-pro", "2026-10-10T02:00:00+00:00", ("0.022", "0.66", "1.98")),
    # Nor holidays: China's National Day is off-peak.
    ("deepseek/deepseek-v4-pro", "2026-10-01T02:00:00+00:00", ("0.022", "0.66", "1.98")),
    ("deepseek/deepseek-flash", "2026-10-01T02:00:00+00:00", ("0.003", "0.15", "0.60")),
    # Its peak bands have no beginning: they reach back to before there were any.
    ("deepseek/deepseek-v4-pro", "2026-06-15T02:00:00+00:00", ("0.003625", "0.435", "0.87")),
    ("deepseek/deepseek-v4-flash", "2026-06-15T02:00:00+00:00", ("0.0028", "0.14", "0.28")),
    # It changes at midnight UTC of the 17th; DeepSeek changed at 2026-08-16T16:00Z.
    ("deepseek/deepseek-v4-pro", "2026-08-16T18:00:00+00:00", ("0.022", "0.66", "1.98")),
    # Flash's peak price of August is overwritten by V4.1's of September.
    ("deepseek/deepseek-v4-flash", "2026-08-18T02:00:00+00:00", ("0.014", "0.44", "1.32")),
    # Flash became V4.1 at 04:00Z of 2026-09-10, not at midnight.
    ("deepseek/deepseek-v4-flash", "2026-09-10T00:30:00+00:00", ("0.007", "0.22", "0.66")),
    # Cache hits cost ten times as much in the first two days.
    ("deepseek/deepseek-v4-flash", "2026-04-25T12:00:00+00:00", ("0.028", "0.14", "0.28")),
]

ORACLE_MODEL = {"deepseek/deepseek-v4-pro": "deepseek-v4-pro", "deepseek/deepseek-v4-flash": "deepseek-v4-flash", "deepseek/deepseek-flash": "deepseek-flash"}


@pytest.mark.parametrize("target, instant, expected", KNOWN_WRONG)
def test_where_the_oracle_is_known_to_be_wrong_the_book_follows_the_announcement(target, instant, expected):
    found = ours(target, instant)
    assert rates(found) == dollars(*expected)
    # Should the oracle be mended, this row belongs among those that agree.
    assert Decimal(found["cost"]) != theirs("deepseek", ORACLE_MODEL[target], instant)


def test_fireworks_names_two_releases_of_flash_by_one_price_in_the_oracle():
    # 0731 costs 0.007 / 0.22 / 0.66 on Fireworks' own models endpoint; the oracle has the preview's price.
    instant = "2026-11-24T02:00:00+00:00"
    found = ours("fireworks/deepseek-v4-flash-0731", instant)
    assert rates(found) == dollars("0.007", "0.22", "0.66")
    assert Decimal(found["cost"]) != theirs("fireworks", "accounts/fireworks/models/deepseek-v4-flash-0731", instant)


def test_novitas_price_of_a_hit_is_disputed_and_the_dearer_is_kept():
    # novita.ai/pricing has 0.132, the oracle 0.044.
    instant = "2026-11-24T02:00:00+00:00"
    found = ours("novita/deepseek-v4-pro", instant)
    assert rates(found) == dollars("0.132", "1.32", "3.96")
    dearer = Decimal(found["cost"]) - theirs("novita", "deepseek/deepseek-v4-pro-0813", instant)
    assert dearer == Decimal("0.132") - Decimal("0.044")


# What no oracle has: the book as it was known at another time, and worked examples.


def test_june_as_known_in_may_was_at_list_price():
    found = ours("deepseek/deepseek-v4-pro", "2026-06-15", known_at="2026-05-10")
    assert rates(found) == dollars("0.0145", "1.74", "3.48")
    assert rates(ours("deepseek/deepseek-v4-pro", "2026-06-15")) == dollars("0.003625", "0.435", "0.87")


@pytest.mark.parametrize(
    "miss, output, cost",
    [(1_000_000, 200_000, "2.436"), (2_000_000, 500_000, "5.22"), (100_000, 100_000, "0.522")],
)
def test_worked_examples_at_list_price(miss, output, cost):
    command = [BINARY, "price", "deepseek/deepseek-v4-pro", "--at", "2026-06-15", "--known-at", "2026-05-10"]
    counts = ["--cache-hit", "0", "--cache-miss", str(miss), "--output", str(output), "--json"]
    done = subprocess.run(command + counts, cwd=ROOT, capture_output=True, text=True, check=True)
    assert Decimal(json.loads(done.stdout)["cost"]) == Decimal(cost)


def test_an_unknown_price_is_no_price():
    command = [BINARY, "price", "siliconflow/deepseek-v4-flash", "--at", "2026-11-24", "--output", "1", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "unknown" in done.stderr
