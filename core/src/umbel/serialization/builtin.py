"""The serializers besides JSON that Celery has, registered as a plugin registers its own."""

from __future__ import annotations

import pickle
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from umbel.serialization.json import JSON
from umbel.spec import Serializer
from umbel.spec.hooks import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

UMBEL_SPEC = 1

# YAML and msgpack are imported when first used: naming pickle loads this module too.


def _pickle(value: Any) -> bytes:
    return pickle.dumps(value, protocol=4)  # the newest that every Python 3 can read


@lru_cache(maxsize=1)
def _yaml_dumper() -> Any:
    """A safe dumper that also takes dictionaries of a class of their own, as signatures are."""
    yaml: Any = import_module("yaml")
    dumper: Any = type("Dumper", (yaml.SafeDumper,), {})
    dumper.add_multi_representer(dict, dumper.represent_dict)
    dumper.add_multi_representer(str, lambda made, text: made.represent_str(str.__str__(text)))
    return dumper


def _yaml(value: Any) -> bytes:
    yaml: Any = import_module("yaml")
    written: bytes = yaml.dump(value, Dumper=_yaml_dumper(), sort_keys=False, allow_unicode=True, encoding="utf-8")
    return written


def _from_yaml(data: bytes) -> Any:
    # The safe reader in Python, not libyaml's: deep nesting is a RecursionError in one, a crash in the other.
    return import_module("yaml").safe_load(data)


def _msgpack(value: Any) -> bytes:
    packed: bytes = import_module("msgpack").packb(value, use_bin_type=True)
    return packed


def _from_msgpack(data: bytes) -> Any:
    return import_module("msgpack").unpackb(data, raw=False)


_OPTIONAL = {
    "yaml": Serializer(name="yaml", content_type="application/x-yaml", dumps=_yaml, loads=_from_yaml),
    "msgpack": Serializer(
        name="msgpack",
        content_type="application/x-msgpack",
        content_encoding="binary",
        dumps=_msgpack,
        loads=_from_msgpack,
        trusted=True,
    ),
}


@hookimpl
def umbel_serializers() -> Sequence[Serializer]:
    """JSON and pickle, YAML and msgpack where their libraries are installed."""
    unsafe = Serializer(
        name="pickle",
        content_type="application/x-python-serialize",
        content_encoding="binary",
        dumps=_pickle,
        loads=pickle.loads,
    )
    return [JSON, unsafe, *(serializer for library, serializer in _OPTIONAL.items() if find_spec(library))]
