from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from umbel.plugins.urls import mask, mask_text, scheme_of, secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:hunter2@localhost:6379/0", "redis://:***@localhost:6379/0"),
        ("amqp://guest:hunter2@host//vhost", "amqp://guest:***@host//vhost"),
        ("amqp://token@host", "amqp://***@host"),
        ("redis://:p@ss/w#rd@host/0", "redis://:***@host/0"),
        ("redis://:p?w@host/0?x=1", "redis://:***@host/0?x=1"),
        ("sqlite:///home/me@work/queue.db?fast=1", "sqlite:///home/me@work/queue.db?fast=1"),
        ("sqs://AKIA:hunter2@?region=eu", "sqs://AKIA:***@?region=eu"),
        ("redis://h/0?password=hunter2&ssl=1", "redis://h/0?password=***&ssl=1"),
        ("kafka://h?sasl_password=hunter2&SASL.Password=x", "kafka://h?sasl_password=***&SASL.Password=***"),
        (
            "x://h?api_key=a&apikey=b&access_key=c&secret=d&token=e",
            "x://h?api_key=***&apikey=***&access_key=***&secret=***&token=***",
        ),
        ("x://h?key=a&global_keyprefix=b&ssl_keyfile=c", "x://h?key=***&global_keyprefix=b&ssl_keyfile=c"),
        ("redis://:a@h1;redis://:b@h2", "redis://:***@h1;redis://:***@h2"),
        ("redis://:a;b@h1;redis://h2", "redis://:***@h1;redis://h2"),
        ("user:hunter2@host", "user:***@host"),
        ("memory://", "memory://"),
        ("", ""),
        ("nonsense", "nonsense"),
    ],
)
def test_secrets_are_masked_and_the_rest_is_shown(url, shown):
    assert mask(url) == shown
    assert mask(shown) == shown


def test_the_scheme_is_in_lower_case_or_missing():
    assert scheme_of("Redis+Socket:///x") == "redis+socket"
    assert scheme_of("localhost:6379") == ""
    assert scheme_of("1x://h") == ""


any_text = st.text(st.characters(codec="utf-8"), min_size=6, max_size=20)
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=8)


@given(scheme=st.sampled_from(["redis", "amqp+x"]), user=names, password=any_text, host=names, path=names)
def test_a_quoted_password_is_never_shown(scheme, user, password, host, path):
    quoted = quote(password, safe="")
    rest = f"{scheme}://{user}@{host}/{path}?x=1"
    assume(quoted not in rest)
    assume(password not in rest)
    shown = mask(f"{scheme}://{user}:{quoted}@{host}/{path}?x=1")
    assert shown == f"{scheme}://{user}:***@{host}/{path}?x=1"


@given(password=st.text("abcABC019@:/#;.-_~!$&*()+,^ é", min_size=6, max_size=20), host=names)
def test_a_password_that_somebody_forgot_to_quote_is_never_shown(password, host):
    url = f"redis://:{password}@{host}/0"
    shown = mask(url)
    assert shown == f"redis://:***@{host}/0"
    assert password not in mask_text(f"cannot reach {url}: {password} is wrong", url)


@given(key=st.sampled_from(["password", "sasl.password", "secret_key", "Token", "%70assword"]), value=any_text)
def test_a_secret_parameter_is_never_shown(key, value):
    quoted = quote(value, safe="")
    url = f"kafka://host?a=1&{key}={quoted}&b=2"
    assume(quoted not in "kafka://host?a=1&b=2 is wrong ***")
    assert mask(url) == f"kafka://host?a=1&{key}=***&b=2"
    assert quoted not in mask_text(f"{value} {quoted} is wrong", url)
    assert value in secrets(url)


@given(url=any_text)
def test_masking_never_fails_and_twice_is_as_good_as_once(url):
    assert mask(mask(url)) == mask(url)
    assert isinstance(mask_text(url, url), str)


def test_in_a_text_every_url_is_masked_and_the_secrets_wherever_they_are():
    url = "redis://:s3cr%20et@host"
    text = mask_text("redis://:other@h refused 's3cr et' (s3cr%20et)", url)
    assert text == "redis://:***@h refused '***' (***)"


def test_the_secrets_of_a_url_are_known_in_every_form():
    assert secrets("redis://:a%20b@host/0?ssl=1&token=x+y") == {"a%20b", "a b", "x+y", "x y"}
    assert secrets("sqlite:///a@b?fast=1") == set()


def test_a_secret_of_a_letter_or_two_is_not_looked_for_in_other_words():
    assert mask_text("a bad idea", "redis://:a@host") == "a bad idea"
