"""Compressed bodies, and how much they may inflate to."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from umbel.exceptions import DecodeError, ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Callable

RATIO = 100
"""How many times its size a body may inflate to ..."""
RATIO_FROM = 1024 * 1024
"""... once it has inflated to more than so many bytes: a small body of zeros is nobody's attack."""
STEP = 256 * 1024
"""Bytes that are inflated at a time where a library would else set aside room for the whole limit."""
_NO_ZSTD = "zstd needs the package zstandard, or Python 3.14: pip install 'umbel[zstd]'"
MEMORY = 128 * 1024 * 1024
"""Bytes that reading may need besides the result; what the libraries' strongest settings write needs less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressor:
    """A named way to compress."""

    name: str
    content_type: str
    compress: Callable[[bytes], bytes]
    inflate: Callable[[bytes, int], bytes]
    """Inflates to at most so many bytes and one more; ValueError, or an error of its own, if it cannot be read."""
    aliases: tuple[str, ...] = ()


def compress(data: bytes, name: str) -> tuple[bytes, str]:
    """The data compressed, and the content type that says how."""
    compressor = _named(name)
    if compressor is None:
        raise ImproperlyConfigured(f"no compression is named {name!r}; known: {', '.join(known())}")
    return compressor.compress(data), compressor.content_type


def decompress(data: bytes, content_type: str, limit: int) -> bytes:
    """The data as it was; DecodeError beyond `limit` bytes or the allowed ratio, before it is inflated any further."""
    compressor = _named(content_type)
    if compressor is None:
        raise DecodeError(f"unknown compression {str(content_type)[:80]!r}")
    most = min(limit, largest(len(data)))
    try:
        inflated = compressor.inflate(data, most)
    except ImproperlyConfigured as exc:
        raise DecodeError(str(exc)) from exc
    except Exception as exc:
        raise DecodeError(f"not readable as {compressor.name}: {exc}") from exc
    if len(inflated) > most:
        which = f"{limit} bytes" if most == limit else f"{RATIO} times its size"
        raise DecodeError(f"inflates beyond {which} ({compressor.name}, {len(data)} bytes compressed)")
    return inflated


def largest(compressed: int) -> int:
    """Bytes that so many compressed bytes may inflate to, whatever the limit."""
    return max(RATIO_FROM, RATIO * compressed)


def register(compressor: Compressor) -> None:
    """Make a compressor known to all apps of this process, in place of one of the same names."""
    for name in (compressor.name, compressor.content_type, *compressor.aliases):
        _compressors[name] = compressor


def known() -> list[str]:
    """The names that `compress` takes, if their libraries are installed."""
    return sorted(name for name in _compressors if "/" not in name)


def _named(name: Any) -> Compressor | None:
    return _compressors.get(name) if isinstance(name, str) else None


def _deflate(data: bytes) -> bytes:
    import zlib  # noqa: PLC0415 - few messages are compressed

    return zlib.compress(data)


def _inflate(data: bytes, limit: int) -> bytes:
    import zlib  # noqa: PLC0415 - few messages are compressed

    # 32: the header tells zlib's own format, which Celery sends under this name, from gzip's.
    reader = zlib.decompressobj(zlib.MAX_WBITS | 32)
    return _ended(reader.decompress(data, limit + 1), limit, reader.eof, reader.unused_data)


def _bzip2(data: bytes) -> bytes:
    import bz2  # noqa: PLC0415 - few messages are compressed

    return bz2.compress(data)


def _bunzip2(data: bytes, limit: int) -> bytes:
    import bz2  # noqa: PLC0415 - few messages are compressed

    reader = bz2.BZ2Decompressor()
    return _ended(reader.decompress(data, limit + 1), limit, reader.eof, reader.unused_data)


def _xz(data: bytes) -> bytes:
    import lzma  # noqa: PLC0415 - few messages are compressed

    return lzma.compress(data)


def _unxz(data: bytes, limit: int) -> bytes:
    import lzma  # noqa: PLC0415 - few messages are compressed

    reader = lzma.LZMADecompressor(memlimit=MEMORY)
    return _ended(reader.decompress(data, limit + 1), limit, reader.eof, reader.unused_data)


def _ended(inflated: bytes, limit: int, eof: bool, unused: bytes) -> bytes:
    if len(inflated) <= limit:
        if not eof:
            raise ValueError("it ends too early")
        if unused:
            raise ValueError(f"{len(unused)} bytes follow its end")
    return inflated


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


def _zstd(data: bytes) -> bytes:
    if library := _library("compression.zstd"):
        return bytes(library.compress(data))
    if library := _library("zstandard"):
        return bytes(library.ZstdCompressor().compress(data))
    raise ImproperlyConfigured(_NO_ZSTD)


def _unzstd(data: bytes, limit: int) -> bytes:
    if library := _library("compression.zstd"):
        options = {library.DecompressionParameter.window_log_max: MEMORY.bit_length() - 1}
        reader = library.ZstdDecompressor(options=options)
        return _ended(reader.decompress(data, limit + 1), limit, reader.eof, reader.unused_data)
    if library := _library("zstandard"):
        stream = library.ZstdDecompressor(max_window_size=MEMORY).stream_reader(data)
        inflated = bytearray()
        while len(inflated) <= limit and (more := stream.read(STEP)):
            inflated += more
        # The stream ends where its input ends, be it too early; most writers say how long the content is.
        stated = library.frame_content_size(data)
        return _ended(bytes(inflated), limit, stated in (-1, len(inflated)), b"")
    raise ImproperlyConfigured(_NO_ZSTD)


def _brotli() -> Any:
    brotli = _library("brotli")
    if brotli is None:
        raise ImproperlyConfigured("brotli needs the package of that name: pip install brotli")
    if not hasattr(brotli.Decompressor, "can_accept_more_data"):
        raise ImproperlyConfigured("brotli before 1.2 cannot be told where to stop inflating: install brotli>=1.2")
    return brotli


def _brotlied(data: bytes) -> bytes:
    compressed: bytes = _brotli().compress(data)
    return compressed


def _unbrotlied(data: bytes, limit: int) -> bytes:
    reader = _brotli().Decompressor()
    inflated = bytearray(reader.process(data, output_buffer_limit=STEP))
    while len(inflated) <= limit and not reader.is_finished():
        more = reader.process(b"", output_buffer_limit=STEP)
        if not more:
            raise ValueError("it ends too early")
        inflated += more
    return bytes(inflated)


_compressors: dict[str, Compressor] = {}
for _each in (
    Compressor(
        name="gzip",
        content_type="application/x-gzip",
        compress=_deflate,
        inflate=_inflate,
        aliases=("zlib",),
    ),
    Compressor(name="bzip2", content_type="application/x-bz2", compress=_bzip2, inflate=_bunzip2, aliases=("bzip",)),
    Compressor(name="lzma", content_type="application/x-lzma", compress=_xz, inflate=_unxz, aliases=("xz",)),
    Compressor(name="zstd", content_type="application/zstd", compress=_zstd, inflate=_unzstd, aliases=("zstandard",)),
    Compressor(name="brotli", content_type="application/x-brotli", compress=_brotlied, inflate=_unbrotlied),
):
    register(_each)
