from __future__ import annotations

import time
from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.message import times

EAST = timezone(timedelta(hours=2))
NOW = 1_700_000_000.5


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2023-11-14T22:13:20.500000+00:00", NOW),
        ("2023-11-14T22:13:20.500000", NOW),
        ("2023-11-15T00:13:20.5+02:00", NOW),
        ("2023-11-14T22:13:20.5Z", NOW),
        ("2023-11-14", 1_699_920_000.0),
    ],
)
def test_moments_on_the_wire_are_read_and_without_a_zone_they_are_utc(text, moment):
    assert times.to_unix(text) == moment


@pytest.mark.parametrize("text", ["", "soon", "2023-13-01", "1700000000", "2023-11-14T25:00:00", "x" * 10_000])
def test_what_is_no_moment_is_an_error(text):
    with pytest.raises(ValueError, match=r".+"):
        times.to_unix(text)


def test_moments_are_written_as_celery_writes_them():
    assert times.to_iso(NOW) == "2023-11-14T22:13:20.500000+00:00"
    assert times.to_iso(1_700_000_000) == "2023-11-14T22:13:20+00:00"
    assert times.to_iso(-0.5) == "1969-12-31T23:59:59.500000+00:00"


@given(st.floats(-60_000_000_000, 250_000_000_000))
def test_what_is_written_is_read_as_the_same_moment(moment):
    if moment < -30_610_224_000:  # the years before 1000
        with pytest.raises(ValueError, match="beyond the years"):
            times.to_iso(moment)
        return
    written = times.to_iso(moment)
    assert written == datetime.fromisoformat(written).isoformat()
    assert times.to_unix(written) == pytest.approx(moment, abs=1e-4)


@pytest.mark.parametrize("moment", [1e12, -1e12, 1e18, 1e300])
def test_years_that_a_message_cannot_name_are_an_error(moment):
    with pytest.raises(ValueError, match="beyond the years"):
        times.to_iso(moment)


def test_the_zone_of_the_machine_does_not_matter(monkeypatch):
    for zone in ("Pacific/Auckland", "America/Lima"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        assert times.to_unix("2023-11-14T22:13:20.5") == NOW
        assert times.from_datetime(datetime(2023, 11, 14, 22, 13, 20)) == NOW - 0.5
        assert times.to_iso(NOW).startswith("2023-11-14T22")
    monkeypatch.undo()
    time.tzset()


def test_an_old_message_may_be_in_local_time(monkeypatch):
    monkeypatch.setenv("TZ", "Etc/GMT-3")
    time.tzset()
    assert times.local_to_utc("2023-11-15T01:13:20") == "2023-11-14T22:13:20+00:00"
    assert times.local_to_utc("2023-11-14T22:13:20+00:00") == "2023-11-14T22:13:20+00:00"
    monkeypatch.undo()
    time.tzset()


def test_a_moment_may_be_given_as_datetime_text_or_timedelta():
    assert times.at(datetime(2023, 11, 14, 22, 13, 20), "eta", NOW) == NOW - 0.5
    assert times.at(datetime(2023, 11, 15, 0, 13, 20, tzinfo=EAST), "eta", NOW) == NOW - 0.5
    assert times.at("2023-11-14T22:13:20", "eta", NOW) == NOW - 0.5
    assert times.at(timedelta(minutes=1), "eta", NOW) == NOW + 60


@pytest.mark.parametrize("moment", [5, 5.0, None, date(2023, 1, 1), b"2023-11-14", True])
def test_anything_else_is_a_type_error_that_names_the_option(moment):
    with pytest.raises(TypeError, match="eta must be a datetime"):
        times.at(moment, "eta", NOW)


def test_text_that_is_no_moment_is_a_value_error_that_names_the_option():
    with pytest.raises(ValueError, match="eta='soon' is no moment"):
        times.at("soon", "eta", NOW)


def test_a_number_expires_that_many_seconds_from_now():
    assert times.expiry(10, NOW) == NOW + 10
    assert times.expiry(-10.5, NOW) == NOW - 10.5
    assert times.expiry(timedelta(seconds=10), NOW) == NOW + 10
    with pytest.raises(TypeError, match="expires must be a number of seconds, not bool"):
        times.expiry(True, NOW)
    with pytest.raises(ValueError, match="expires must be finite"):
        times.expiry(float("nan"), NOW)


def test_a_datetime_keeps_the_callers_zone_on_the_wire():
    moment = datetime(2023, 11, 15, 0, 13, 20, tzinfo=EAST)
    assert times.written(moment, 0) == "2023-11-15T00:13:20+02:00"
    assert times.written(moment.replace(tzinfo=None), 0) == "2023-11-15T00:13:20+00:00"
    assert times.written("whatever", 1_700_000_000) == "2023-11-14T22:13:20+00:00"
