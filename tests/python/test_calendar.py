"""The book's public holidays of mainland China against two independent packages, and the hours
that follow from them against DeepSeek's rule computed here from one of those packages.

Needs PyPI `chinesecalendar` and `holidays`, and the binary at $TOLLGATE_BIN (or target/release).
"""

import datetime as dt
import json
import os
import pathlib
import subprocess
import tomllib

import chinese_calendar
import holidays
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("TOLLGATE_BIN", ROOT / "target/release/tollgate"))
BEIJING = dt.timezone(dt.timedelta(hours=8))


def book():
    with open(ROOT / "config/catalog/calendars/china.toml", "rb") as file:
        return tomllib.load(file)


def days(year):
    first = dt.date(year, 1, 1)
    return [first + dt.timedelta(n) for n in range((dt.date(year + 1, 1, 1) - first).days)]


def window(instant):
    command = [BINARY, "price", "deepseek/deepseek-v4-pro", "--at", instant, "--known-at", "2026-11-24", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_days_off_are_those_of_the_state_councils_notice_as_chinesecalendar_has_it():
    ours = set(book()["holidays"])
    theirs = set()
    for day in days(2026):
        off, name = chinese_calendar.get_holiday_detail(day)
        if off and name:
            theirs.add(day)
    assert ours == theirs


def test_on_working_days_holidays_agrees():
    # That package lists only the first weekend day of some holidays; on weekdays it must agree.
    ours = {day for day in book()["holidays"] if day.weekday() < 5}
    theirs = {day for day in holidays.China(years=2026) if day.weekday() < 5}
    assert ours == theirs


def test_days_worked_in_exchange_all_fall_on_weekends():
    worked = [day for day in chinese_calendar.constants.workdays if day.year == 2026]
    assert worked and all(day.weekday() >= 5 for day in worked)
    assert not set(worked) & set(book()["holidays"])


def test_the_book_knows_no_more_years_than_are_published():
    known_until = book()["known_until"]
    assert known_until == dt.date(2026, 12, 31)
    with pytest.raises(NotImplementedError):
        chinese_calendar.is_holiday(dt.date(2027, 1, 4))


@pytest.mark.parametrize("day", [d for d in days(2026) if d >= dt.date(2026, 9, 21)], ids=str)
def test_peak_hours_are_those_of_working_weekdays(day):
    noon_hours = dt.datetime(day.year, day.month, day.day, 10, tzinfo=BEIJING)
    off, name = chinese_calendar.get_holiday_detail(day)
    peak = day.weekday() < 5 and not (off and name)
    found = window(noon_hours.astimezone(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert found["window"].endswith("/peak" if peak else "/off-peak"), found
    assert found["provisional"] is False
