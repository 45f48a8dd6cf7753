from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc
import zlib
from importlib.util import find_spec

import pytest

from umbel.exceptions import DecodeError, ImproperlyConfigured
from umbel.serialization import compression
from umbel.serialization.compression import RATIO, RATIO_FROM, Compressor, compress, decompress, known, largest

LIMIT = 64 * 1024 * 1024
TEXT = b"The quick brown fox jumps over the lazy dog. " * 50
NAMES = {
    "gzip": "application/x-gzip",
    "zlib": "application/x-gzip",
    "bzip2": "application/x-bz2",
    "bzip": "application/x-bz2",
    "lzma": "application/x-lzma",
    "xz": "application/x-lzma",
    "zstd": "application/zstd",
    "zstandard": "application/zstd",
    "brotli": "application/x-brotli",
}
HERE = [name for name in NAMES if name != "brotli" or find_spec("brotli")]
BOMBS = ["gzip", "bzip2", "lzma", "zstd", *(["brotli"] if "brotli" in HERE else [])]


@pytest.mark.parametrize("name", HERE)
def test_each_name_of_celery_compresses_and_inflates(name):
    data, content_type = compress(TEXT, name)
    assert content_type == NAMES[name]
    assert len(data) < len(TEXT)
    assert decompress(data, content_type, LIMIT) == TEXT
    assert decompress(data, name, LIMIT) == TEXT
    assert decompress(*compress(b"", name), LIMIT) == b""


def test_what_kombu_writes_is_read():
    assert decompress(zlib.compress(TEXT), "application/x-gzip", LIMIT) == TEXT
    assert decompress(gzip.compress(TEXT), "application/x-gzip", LIMIT) == TEXT
    assert decompress(bz2.compress(TEXT), "application/x-bz2", LIMIT) == TEXT
    assert decompress(lzma.compress(TEXT), "application/x-lzma", LIMIT) == TEXT


def test_all_names_are_known():
    assert set(NAMES) <= set(known())


def test_an_unknown_name_is_an_error_on_both_sides():
    with pytest.raises(ImproperlyConfigured, match=r"no compression is named 'zip'; known: .*gzip"):
        compress(b"", "zip")
    for odd in ("zip", "", "x" * 1000, None, 5, ["gzip"]):
        with pytest.raises(DecodeError, match="unknown compression"):
            decompress(b"", odd, LIMIT)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_takes_the_memory(name):
    bomb, _ = compress(bytes(100 * 1024 * 1024), name)
    tracemalloc.start()
    with pytest.raises(DecodeError, match=f"inflates beyond {RATIO} times its size"):
        decompress(bomb, name, 1 << 40)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The dictionary of lzma alone takes 8 MB; zlib's hundred kilobytes may inflate to ten megabytes.
    assert peak < 2 * largest(len(bomb)) + 12 * 1024 * 1024


@pytest.mark.parametrize("name", BOMBS)
def test_the_limit_itself_is_allowed_and_one_byte_more_is_not(name):
    data = bytes(range(256)) * 40
    packed, _ = compress(data, name)
    assert decompress(packed, name, len(data)) == data
    with pytest.raises(DecodeError, match=f"inflates beyond {len(data) - 1} bytes"):
        decompress(packed, name, len(data) - 1)


@pytest.mark.parametrize("name", BOMBS)
def test_a_megabyte_of_zeros_is_no_bomb(name):
    assert decompress(*compress(bytes(RATIO_FROM), name), LIMIT) == bytes(RATIO_FROM)


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("broken", [lambda data: data[:-3], lambda data: b"", lambda data: b"nonsense" + data])
def test_what_is_cut_off_or_broken_is_a_decode_error(name, broken):
    data, _ = compress(TEXT, name)
    with pytest.raises(DecodeError, match=r"not readable as"):
        decompress(broken(data), name, LIMIT)


@pytest.mark.parametrize("name", ["gzip", "bzip2", "lzma"])
def test_bytes_after_the_end_are_an_error(name):
    data, _ = compress(TEXT, name)
    with pytest.raises(DecodeError, match="bytes follow its end"):
        decompress(data + b"more", name, LIMIT)


def test_a_compressor_of_ones_own_is_used(monkeypatch):
    monkeypatch.setattr(compression, "_compressors", dict(compression._compressors))
    reverse = Compressor(
        name="reverse",
        content_type="x/reverse",
        compress=lambda data: data[::-1],
        inflate=lambda data, limit: data[::-1],
        aliases=("backwards",),
    )
    compression.register(reverse)
    assert compress(b"abc", "backwards") == (b"cba", "x/reverse")
    assert decompress(b"cba", "x/reverse", LIMIT) == b"abc"


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setattr(compression, "_library", lambda name: None)
    with pytest.raises(ImproperlyConfigured, match=r"umbel\[zstd\]"):
        compress(b"", "zstd")
    with pytest.raises(DecodeError, match=r"umbel\[zstd\]"):
        decompress(b"", "zstd", LIMIT)
    with pytest.raises(DecodeError, match="brotli"):
        decompress(b"", "brotli", LIMIT)
