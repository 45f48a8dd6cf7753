"""Real distributions, as pip would leave them: a module and a dist-info folder on sys.path."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import traceback
import uuid
from pathlib import Path
from typing import Any

import pytest

from umbel.exceptions import ImproperlyConfigured, PluginError
from umbel.plugins.manager import Installed, Plugins
from umbel.spec import Fatal, Serializer
from umbel.spec.hooks import hookimpl

BROKER = """
from umbel.spec import Broker
from umbel.spec.hooks import hookimpl

UMBEL_SPEC = 1


class Fake(Broker):
    def __init__(self, url, options):
        self.url = url
        self.given = dict(options)

    def declare(self, queues): ...
    def publish(self, messages): ...
    def consume(self, queues, *, owner, prefetch): ...


@hookimpl
def umbel_broker(url, options):
    return Fake(url, options)
"""
BACKEND = """
from umbel.spec import ResultBackend
from umbel.spec.hooks import hookimpl

UMBEL_SPEC = 1


class Store(ResultBackend):
    def __init__(self, url, options):
        self.given = (url, dict(options))

    def store(self, results, *, ttl): ...
    def fetch(self, ids): ...
    def forget(self, ids): ...
    def arrive(self, arrivals, *, ttl): ...


@hookimpl
def umbel_result_backend(url, options):
    return Store(url, options)
"""


def making(line: str) -> str:
    """A plugin whose hook does something else."""
    return BROKER.replace("return Fake(url, options)", line)


class Site:
    """A folder on sys.path into which distributions are installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self, source: str, names: str, *, group: str = "umbel", distribution: str = "umbel-fake", attribute: str = ""
    ) -> str:
        """Install a module of this source with an entry point for each name; returns the module's name."""
        module = f"fake_{uuid.uuid4().hex}"
        (self.folder / f"{module}.py").write_text(textwrap.dedent(source))
        info = self.folder / f"{distribution.replace('-', '_')}-1.5.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n")
        lines = [f"[{group}]", *(f"{name} = {module}{attribute}" for name in names.split())]
        with (info / "entry_points.txt").open("a") as entries:
            entries.write("\n".join(lines) + "\n")
        return module


@pytest.fixture
def site(tmp_path, monkeypatch) -> Site:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Site(tmp_path)


def test_an_installed_transport_is_found_by_the_scheme_of_its_url(site):
    site.install(BROKER, "fake fakes")
    broker: Any = Plugins().broker("fakes://host/1?x=2", {"lease": 3})
    assert (broker.url, broker.given) == ("fakes://host/1?x=2", {"lease": 3})
    assert Plugins().broker("FAKE://host")


def test_a_result_store_gets_the_options_too(site):
    site.install(BACKEND, "fake")
    store: Any = Plugins().backend("fake://host", {"broker_url": "memory://"})
    assert store.given == ("fake://host", {"broker_url": "memory://"})


def test_only_what_is_named_is_loaded(site):
    wanted = site.install(BROKER, "wanted")
    other = site.install("raise RuntimeError('loaded')", "other", distribution="umbel-other")
    plugins = Plugins()
    plugins.broker("wanted://")
    assert wanted in sys.modules
    assert other not in sys.modules


def test_the_whole_scheme_comes_first_then_the_part_before_the_plus(site):
    site.install(BROKER.replace("class Fake", "class Socket").replace("Fake(", "Socket("), "fake+socket")
    site.install(BROKER, "fake", distribution="umbel-other")
    plugins = Plugins()
    assert type(plugins.broker("fake+socket:///x")).__name__ == "Socket"
    assert type(plugins.broker("fake+tcp://h")).__name__ == "Fake"
    assert type(plugins.broker("fake+socket+x://h")).__name__ == "Fake"


@pytest.mark.parametrize(
    ("url", "package"),
    [
        ("redis://h", "umbel-redis"),
        ("rediss://h", "umbel-redis"),
        ("redis+socket:///x", "umbel-redis"),
        ("amqp://h", "umbel-amqp"),
        ("pyamqp://h", "umbel-amqp"),
        ("amqps://h", "umbel-amqp"),
        ("sqs://", "umbel-sqs"),
        ("kafka://h", "umbel-kafka"),
        ("mongodb://h", "umbel-mongo"),
        ("mongodb+srv://h", "umbel-mongo"),
    ],
)
def test_a_scheme_of_ours_that_is_not_installed_names_the_package(url, package):
    with pytest.raises(
        PluginError, match=rf"no broker for {url.split(':')[0].replace('+', '.')}:// .*pip install {package}$"
    ):
        Plugins().broker(url)


def test_an_unknown_scheme_names_what_is_near_and_what_is_installed(site):
    site.install(BROKER, "fake")
    with pytest.raises(PluginError, match=r"for fkae:// .*is fake:// meant\? \(installed: fake, memory, sqlite\)"):
        Plugins().broker("fkae://h")
    with pytest.raises(PluginError, match=r"is redis:// meant\? pip install umbel-redis \(installed"):
        Plugins().backend("rdis://h")
    with pytest.raises(PluginError, match=r"no result backend for zzzzzz:// is installed \(installed: fake"):
        Plugins().backend("zzzzzz://h")


@pytest.mark.parametrize("url", ["localhost:6379", "", "/tmp/x.db", "://x"])
def test_a_url_without_a_scheme_says_what_one_looks_like(url):
    with pytest.raises(ImproperlyConfigured, match=r"has no scheme; it looks like redis://"):
        Plugins().broker(url)


def test_a_plugin_for_a_newer_contract_is_refused_by_name(site):
    site.install(BROKER.replace("UMBEL_SPEC = 1", "UMBEL_SPEC = 99"), "fake")
    with pytest.raises(PluginError, match=r"umbel-fake 1.5 .* version 99 of umbel.spec; umbel .* has 1: upgrade umbel"):
        Plugins().broker("fake://")


@pytest.mark.parametrize("line", ["", "UMBEL_SPEC = '1'"])
def test_a_plugin_that_does_not_say_its_contract_is_refused(site, line):
    site.install(BROKER.replace("UMBEL_SPEC = 1", line), "fake")
    with pytest.raises(PluginError, match=r"umbel-fake 1.5 .* lacks UMBEL_SPEC = 1"):
        Plugins().broker("fake://")


def test_two_distributions_that_claim_one_scheme_are_refused_by_name(site):
    site.install(BROKER, "fake")
    site.install(BROKER, "fake", distribution="umbel-rival")
    with pytest.raises(PluginError, match=r"'fake' is claimed by .*umbel-.* 1.5 .* and by umbel-.* 1.5 .*uninstall"):
        Plugins().broker("fake://")


def test_who_claims_a_built_in_scheme_is_refused_once_it_is_seen(site):
    site.install(BROKER, "memory", distribution="umbel-rival")
    plugins = Plugins()
    assert plugins.broker("memory://")  # found without looking at what is installed
    with pytest.raises(PluginError, match="zzz"):
        plugins.broker("zzz://")
    with pytest.raises(PluginError, match=r"'memory' is claimed by umbel .* and by umbel-rival 1.5"):
        plugins.broker("memory://")
    assert [line.error is None for line in Plugins().installed() if line.name == "memory"] == [False, False]


def test_built_in_transports_need_no_look_at_what_is_installed():
    script = """
import sys
from umbel.plugins.manager import Plugins
Plugins().broker("memory://")
Plugins().serializers(["pickle"])
print("importlib.metadata" in sys.modules)
"""
    path = [entry for entry in sys.path if entry]
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {path!r}\n{script}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            "import no_such_driver",
            r"umbel-fake 1.5 .* cannot be loaded: ModuleNotFoundError: No module named 'no_such_d",
        ),
        ("raise RuntimeError('licence expired')", "cannot be loaded: RuntimeError: licence expired"),
        ("def broken(:", "cannot be loaded: SyntaxError"),
        ("UMBEL_SPEC = 1", "implements none of the hooks; are they decorated"),
        (BROKER.replace("@hookimpl", ""), "implements none of the hooks; are they decorated"),
        (BROKER.replace("umbel_broker", "umbel_brokr"), "has a hook that is none of umbel.spec.hooks: .*umbel_brokr"),
        (
            BROKER.replace("(url, options):\n    return", "(url, wrong):\n    return"),
            "has a hook that is none of .*wrong",
        ),
        (making("return None"), "does not take the URL fake://h"),
        (making("return 5"), r"made a int, which is no umbel.spec.Broker"),
        (
            making("import no_such_driver"),
            r"lacks what it needs for fake://h: No mod",
        ),
        (BACKEND, "brings no broker, so fake://h cannot be one"),
    ],
)
def test_a_plugin_that_does_not_work_gives_its_own_cause(site, source, says):
    site.install(source, "fake")
    plugins = Plugins()
    for _ in range(2):
        with pytest.raises(PluginError, match=says):
            plugins.broker("fake://h")


def test_an_entry_point_may_name_an_object(site):
    source = f"""{BROKER}
class Plugin:
    UMBEL_SPEC = 1
    umbel_broker = staticmethod(umbel_broker)

class Old:
    umbel_broker = staticmethod(umbel_broker)

plugin, old = Plugin(), Old()
"""
    site.install(source, "fake", attribute=":plugin")
    site.install(source, "old", attribute=":old", distribution="umbel-old")
    site.install(source, "gone", attribute=":gone", distribution="umbel-gone")
    assert Plugins().broker("fake://")
    assert Plugins().broker("old://")  # the module says the version
    with pytest.raises(PluginError, match="cannot be loaded: AttributeError"):
        Plugins().broker("gone://")


# Not as text in a line that a traceback would show.
PASSWORD = "-".join(["open", "sesame"])
URL = f"fake://me:{PASSWORD}@h"


def test_a_wrong_url_is_the_users_error_and_shows_no_password(site):
    site.install(making("raise ValueError(f'no database in {url}, or ' + '-'.join(['open', 'sesame']))"), "fake")
    with pytest.raises(ImproperlyConfigured) as caught:
        Plugins().broker(URL)
    shown = "".join(traceback.format_exception(caught.value))
    assert PASSWORD not in shown
    assert "no database in fake://me:***@h, or *** [umbel-fake]" in shown
    with pytest.raises(ImproperlyConfigured, match=PASSWORD):  # in this URL it is nobody's secret
        Plugins().broker("fake://me:other@h")


def test_errors_that_follow_from_one_with_the_password_show_none(site):
    inner = "try:\n        int(url)\n    except ValueError as exc:\n        raise TypeError('odd') from exc"
    site.install(making(inner), "fake")
    with pytest.raises(ImproperlyConfigured, match=r"fake://.* is not usable: odd") as caught:
        Plugins().broker(URL)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


def test_an_error_of_the_brokers_own_passes_unless_it_shows_the_password(site):
    raising = "from umbel.spec import Fatal; raise Fatal('no ' + (url if 'show' in url else 'access'))"
    site.install(making(raising), "fake")
    with pytest.raises(Fatal, match="no access"):
        Plugins().broker(URL)
    with pytest.raises(ImproperlyConfigured, match=r"no fake://me:\*\*\*@show"):
        Plugins().broker(URL.replace("@h", "@show"))


def test_serializers_are_found_by_name(site):
    source = """
    from umbel.spec import Serializer
    from umbel.spec.hooks import hookimpl
    UMBEL_SPEC = 1

    @hookimpl
    def umbel_serializers():
        return [Serializer(name="hex", content_type="x/hex", dumps=lambda v: v.hex().encode(), loads=bytes.fromhex)]
    """
    site.install(source, "hex", group="umbel.serializers")
    site.install(source, "lost", group="umbel.serializers", distribution="umbel-lost")
    plugins = Plugins()
    assert [each.name for each in plugins.serializers(["hex", "json", "pickle"])] == ["hex", "json", "pickle"]
    with pytest.raises(
        PluginError, match=r"no serializer named 'hxe' is installed; is 'hex' meant\? \(installed: hex, json"
    ):
        plugins.serializers(["hxe"])
    with pytest.raises(PluginError, match=r"umbel-lost 1.5 .* brings no serializer named 'lost' here$"):
        plugins.serializers(["lost"])


def test_a_serializer_whose_library_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setattr("umbel.serialization.builtin.find_spec", lambda name: None)
    with pytest.raises(PluginError, match=r"pip install 'umbel\[yaml\]'"):
        Plugins().serializers(["yaml"])
    kinds = {line.name: (line.kind, line.error) for line in Plugins().installed() if line.group == "umbel.serializers"}
    assert kinds["msgpack"] == ("serializer (needs umbel[msgpack])", None)
    assert kinds["pickle"] == ("serializer", None)


def test_routers_are_made_from_the_settings(site):
    source = """
    from umbel.spec.hooks import hookimpl
    UMBEL_SPEC = 1

    class Sharded:
        def __init__(self, shards):
            self.shards = shards
        def route(self, task, args, kwargs, options):
            return {"queue": f"shard-{len(task) % self.shards}"}

    @hookimpl
    def umbel_router(config):
        return Sharded(config["shards"]) if "shards" in config else None
    """
    site.install(source, "sharded", group="umbel.routers")
    router = Plugins().router("sharded", {"shards": 2})
    assert router.route("abc", (), {}, {}) == {"queue": "shard-1"}
    with pytest.raises(PluginError, match="made no router: its settings are missing"):
        Plugins().router("sharded", {})
    with pytest.raises(PluginError, match=r"no router named 'shraded' .*'sharded' meant"):
        Plugins().router("shraded", {})


def test_a_program_may_bring_a_plugin_of_its_own():
    class Mine:
        UMBEL_SPEC = 1

        @hookimpl
        def umbel_serializers(self):
            return [Serializer(name="mine", content_type="x/mine", dumps=bytes, loads=bytes)]

    plugins = Plugins()
    plugins.register("mine", Mine(), "umbel.serializers")
    assert plugins.serializers(["mine"])[0].content_type == "x/mine"
    plugins.register("json", Mine(), "umbel.serializers")
    with pytest.raises(PluginError, match=r"this program .* brings no serializer named 'json'"):
        plugins.serializers(["json"])


def test_doctor_sees_all_that_is_installed_and_what_is_wrong_with_it(site):
    both = site.install(BROKER + BACKEND, "both")
    site.install("import no_such_driver", "broken", distribution="umbel-broken")
    site.install(BROKER.replace("UMBEL_SPEC = 1", "UMBEL_SPEC = 99"), "new", distribution="umbel-new")
    site.install(BROKER, "twice", distribution="umbel-one")
    site.install(BROKER, "twice", distribution="umbel-two")
    lines = Plugins().installed()
    found = {(line.name, line.distribution): line for line in lines}
    assert found["both", "umbel-fake"] == Installed(
        name="both",
        group="umbel",
        kind="broker, result backend",
        distribution="umbel-fake",
        version="1.5",
        spec=1,
        error=None,
    )
    assert both in sys.modules
    assert "no_such_driver" in str(found["broken", "umbel-broken"].error)
    assert "version 99" in str(found["new", "umbel-new"].error)
    assert "claimed by" in str(found["twice", "umbel-one"].error)
    assert "claimed by" in str(found["twice", "umbel-two"].error)
    assert found["memory", "umbel"].error is None
    assert found["json", "umbel"].kind == "serializer"


def test_a_distribution_that_cannot_say_its_name_is_known_by_its_folder(site):
    module = site.install(BROKER, "fake")
    (site.folder / "umbel_fake-1.5.dist-info" / "METADATA").unlink()
    claim = Plugins()._entries.find("umbel", "fake")
    assert claim is not None
    assert claim.value == module
    assert "umbel_fake-1.5.dist-info" in claim.distribution
    assert Plugins().broker("fake://")
