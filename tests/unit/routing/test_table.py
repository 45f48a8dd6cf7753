from __future__ import annotations

import re
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from umbel.exceptions import ImproperlyConfigured, QueueNotFound
from umbel.routing import table as module
from umbel.routing.queues import Broadcast, Exchange, Queue
from umbel.routing.table import RouteTable
from umbel.spec import Binding


def settings(**changes: Any) -> SimpleNamespace:
    values = {
        "task_default_queue": "celery",
        "task_default_exchange": None,
        "task_default_exchange_type": "direct",
        "task_default_routing_key": None,
        "task_create_missing_queues": True,
        "task_queue_max_priority": None,
        "task_queues": None,
        "task_routes": None,
    }
    return SimpleNamespace(**{**values, **changes})


def routed(routes: Any, task: str = "proj.add", options: dict[str, Any] | None = None, **changes: Any) -> Any:
    return RouteTable(settings(task_routes=routes, **changes)).destination(task, (), {}, options or {})


def where(destination: Any) -> tuple[str, str, str]:
    return destination.queue, destination.exchange, destination.routing_key


def test_without_routes_everything_goes_to_the_default_queue():
    table = RouteTable(settings())
    assert where(table.destination("a")) == ("celery", "", "celery")
    assert table.destination("a") is table.destination("a", (1,), {"x": 1}, {"countdown": 3})
    assert table.destination("a").options == {}
    (queue,) = table.declarations()
    assert queue.name == "celery"
    assert queue.bindings == (Binding(exchange="celery", routing_key="celery"),)


def test_the_default_queue_is_as_settings_say():
    table = RouteTable(
        settings(
            task_default_queue="main",
            task_default_exchange="tasks",
            task_default_exchange_type="topic",
            task_default_routing_key="task.default",
            task_default_queue_type="quorum",
            task_queue_max_priority=10,
        )
    )
    assert where(table.destination("a")) == ("main", "tasks", "task.default")
    (queue,) = table.declarations()
    assert queue.bindings == (Binding(exchange="tasks", exchange_type="topic", routing_key="task.default"),)
    assert queue.options == {"queue_arguments": {"x-queue-type": "quorum", "x-max-priority": 10}}


@pytest.mark.parametrize(
    "routes",
    [
        {"proj.add": {"queue": "hot"}},
        {"proj.add": "hot"},
        {"proj.*": "hot"},
        {"proj.add*": "hot"},
        {"*": "hot"},
        {"*.add": "hot"},
        {"[p]roj.*": "hot"},
        {re.compile(r"proj\.(add|mul)"): {"queue": "hot"}},
        {"other": "cold", "proj.*": "hot"},
        {"proj.add": "hot", "proj.*": "cold"},
        {"proj.*": "hot", "*": "cold"},
        [("proj.*", "hot"), ("*", "cold")],
        ([("proj.*", "hot"), ("*", "cold")],),
        ("proj.*", {"queue": "hot"}),
        (re.compile("proj"), "hot"),
        [{"other": "cold"}, {"proj.add": "hot"}],
        [[{"other": "cold"}], [[{"proj.add": "hot"}]]],
        lambda name, args, kwargs, options, task=None, **kw: {"queue": "hot"},
        lambda name, args, kwargs, options: "hot",
        [lambda *a, **k: None, {"proj.add": "hot"}],
        {"proj.add": Queue("hot")},
    ],
)
def test_routes_of_every_form_are_obeyed(routes):
    assert where(routed(routes)) == ("hot", "", "hot")


@pytest.mark.parametrize(
    "routes",
    [
        None,
        {},
        [],
        {"proj": "hot"},
        {"add": "hot"},
        {"proj.ad?": "hot"},
        {"proj.*.x": "hot"},
        {re.compile("add"): "hot"},
        lambda *args, **kw: None,
        {"proj.add": {}},
    ],
)
def test_what_no_route_matches_goes_to_the_default_queue(routes):
    assert where(routed(routes)) == ("celery", "", "celery")


def test_the_callers_options_win_over_the_route_whose_other_options_stay():
    routes = {"proj.add": {"queue": "hot", "priority": 3, "expires": None}}
    assert routed(routes).options == {"priority": 3}
    mine = routed(routes, options={"queue": "mine"})
    assert where(mine) == ("mine", "", "mine")
    assert mine.options == {"priority": 3}


def test_the_tasks_own_queue_comes_after_the_routes():
    table = RouteTable(settings(task_routes={"proj.add": "hot"}))
    assert where(table.destination("proj.add", defaults={"queue": "own"})) == ("hot", "", "hot")
    assert where(table.destination("other", defaults={"queue": "own"})) == ("own", "", "own")
    assert where(table.destination("other", options={"queue": "mine"}, defaults={"queue": "own"}))[0] == "mine"
    assert where(table.destination("other")) == ("celery", "", "celery")


MEDIA = [
    Queue("videos", Exchange("media"), routing_key="video"),
    Queue("images", Exchange("media"), routing_key="image"),
    Queue("logs", Exchange("logs", "topic"), routing_key="log.#"),
]


@pytest.mark.parametrize(
    ("options", "destination"),
    [
        ({"queue": "videos"}, ("videos", "", "videos")),
        ({"exchange": "media", "routing_key": "image"}, ("images", "media", "image")),
        ({"exchange": Exchange("media"), "routing_key": "image"}, ("images", "media", "image")),
        ({"queue": "logs"}, ("logs", "logs", "log.#")),
        ({"queue": "logs", "routing_key": "log.error"}, ("logs", "logs", "log.error")),
        ({"queue": "videos", "routing_key": "image"}, ("videos", "media", "image")),
        ({"exchange": "elsewhere"}, ("celery", "elsewhere", "celery")),
        ({"routing_key": "key"}, ("celery", "celery", "key")),
        ({"queue": Queue("adhoc", Exchange("x", "topic"), "k")}, ("adhoc", "x", "k")),
        ({"exchange": Exchange(""), "routing_key": "videos"}, ("videos", "", "videos")),
    ],
)
def test_exchanges_and_keys_are_as_celery_resolves_them(options, destination):
    table = RouteTable(settings(task_queues=MEDIA))
    assert where(table.destination("a", (), {}, options)) == destination
    assert where(table.destination("a", (), {}, options)) == destination
    by_route = RouteTable(settings(task_queues=MEDIA, task_routes={"a": options}))
    assert where(by_route.destination("a")) == destination


def test_a_broadcast_goes_to_the_exchange_and_each_worker_declares_its_own():
    table = RouteTable(settings(task_queues=[Broadcast("news")]))
    assert where(table.destination("a", options={"queue": "news"})) == ("news", "news", "")
    (queue,) = table.declarations(["news"])
    assert queue.name.startswith("bcast.")
    assert queue.bindings == (Binding(exchange="news", exchange_type="fanout"),)
    assert queue.options == {"auto_delete": True}


def test_queues_may_be_a_dictionary_and_lack_what_has_a_default():
    table = RouteTable(settings(task_queues={"a": {"exchange": "x", "routing_key": "k"}, "b": {}, "c": Queue()}))
    assert list(table.queues) == ["a", "b", "c"]
    assert [queue.bindings[0] for queue in table.declarations()] == [
        Binding(exchange="x", routing_key="k"),
        Binding(exchange="celery", routing_key="celery"),
        Binding(exchange="celery", routing_key="celery"),
    ]


def test_queues_that_nobody_configured_are_made_up():
    table = RouteTable(
        settings(task_create_missing_queue_type="quorum", task_create_missing_queue_exchange_type="topic")
    )
    (queue,) = table.declarations(["new"])
    assert queue.bindings == (Binding(exchange="new", exchange_type="topic", routing_key="new"),)
    assert queue.options == {"queue_arguments": {"x-queue-type": "quorum"}}
    assert where(table.destination("a", options={"queue": "new"})) == ("new", "new", "new")
    assert "new" not in table.queues


def test_classic_queues_are_declared_without_a_type():
    table = RouteTable(settings(task_create_missing_queue_type="classic", task_default_queue_type="classic"))
    assert [queue.options for queue in table.declarations(["new", "celery"])] == [{}, {}]


def test_unless_that_is_forbidden_and_then_the_error_names_the_known_ones():
    table = RouteTable(settings(task_queues=MEDIA, task_create_missing_queues=False))
    assert table.destination("a", options={"queue": "videos"}).queue == "videos"
    for ask in (lambda: table.destination("a", options={"queue": "vidoes"}), lambda: table.declarations(["vidoes"])):
        with pytest.raises(QueueNotFound, match=r"^queue 'vidoes' is not among task_queues \(images, logs, videos\)"):
            ask()


def test_a_queue_given_as_an_object_can_be_declared_by_its_name():
    table = RouteTable(settings())
    table.destination("a", options={"queue": Queue("adhoc", Exchange("x"), "k", max_priority=3)})
    (queue,) = table.declarations(["adhoc"])
    assert queue.bindings == (Binding(exchange="x", routing_key="k"),)
    assert queue.options == {"queue_arguments": {"x-max-priority": 3}}


def test_the_priority_of_a_queue_wins_over_the_setting():
    queues = [Queue("a"), Queue("b", max_priority=3), Queue("c", queue_arguments={"x-max-priority": 4})]
    table = RouteTable(settings(task_queues=queues, task_queue_max_priority=10))
    priorities = [queue.options["queue_arguments"]["x-max-priority"] for queue in table.declarations()]
    assert priorities == [10, 3, 4]


def test_routers_get_what_celery_gives_them():
    seen = []

    def router(name, args, kwargs, options, task=None, **kw):
        seen.append((name, args, kwargs, options, task))

    table = RouteTable(settings(task_routes=router), tasks={"a": "the task"})
    table.destination("a", (1,), {"x": 2}, {"priority": 3})
    assert seen == [("a", (1,), {"x": 2}, {"priority": 3}, "the task")]


def test_routers_may_be_objects_of_celerys_or_of_our_kind():
    class Old:
        def route_for_task(self, task, args=None, kwargs=None):
            return {"queue": "old"} if task == "a" else None

    class Ours:
        def route(self, task, args, kwargs, options):
            return {"queue": "ours", "priority": len(args)}

    table = RouteTable(settings(task_routes=[Old(), Ours()]))
    assert table.destination("a").queue == "old"
    assert table.destination("b", (1, 2)).queue == "ours"
    assert table.destination("b", (1, 2)).options == {"priority": 2}
    assert table.destination("b", (1,)).options == {"priority": 1}


@pytest.fixture
def routers(monkeypatch):
    made = ModuleType("some_routers")
    monkeypatch.setitem(sys.modules, "some_routers", made)
    return made


def test_dotted_names_are_imported_when_they_are_first_needed(routers):
    class Router:
        def route_for_task(self, task, args, kwargs):
            return "by class"

    table = RouteTable(settings(task_routes=["some_routers.function", "some_routers:Router"]))
    routers.function = lambda name, *args, **kw: "by function" if name == "a" else None
    routers.Router = Router
    assert table.destination("a").queue == "by function"
    assert table.destination("b").queue == "by class"


def test_dotted_names_may_name_lists_and_one_another(routers):
    routers.first = "some_routers.second"
    routers.second = [{"a": "hot"}, "some_routers.third"]
    routers.third = {"b": "warm"}
    table = RouteTable(settings(task_routes="some_routers.first"))
    assert [table.destination(task).queue for task in "abc"] == ["hot", "warm", "celery"]


def test_a_name_without_a_dot_is_that_of_a_plugin():
    class Plugin:
        def route(self, task, args, kwargs, options):
            return {"queue": f"for {task}"}

    asked = []
    table = RouteTable(settings(task_routes=["shard"]), router=lambda name: asked.append(name) or Plugin())
    assert table.destination("a").queue == table.destination("a").queue == "for a"
    assert asked == ["shard"]
    with pytest.raises(ImproperlyConfigured, match="'shard' is neither a dotted path nor the name of a router plugin"):
        RouteTable(settings(task_routes=["shard"])).destination("a")


circular: list[Any] = []
circular.append(circular)


@pytest.mark.parametrize(
    ("routes", "says"),
    [
        (5, "task_routes is no router: 5"),
        ({"a": None}, r"task_routes\['a'\] must be a queue's name or a dictionary of options, not None"),
        ({"a": 5}, r"task_routes\['a'\] must be"),
        ({5: "q"}, "a key that is neither a task's name nor a pattern: 5"),
        ({"a": {5: "q"}}, r"task_routes\['a'\] has an option that is not text: 5"),
        ({"a": {"quueue": "q"}}, r"task_routes\['a'\] has an option 'quueue'; is 'queue' meant\?"),
        ({re.compile("a."): {"rooting_key": "q"}}, r"task_routes\['a\.'\] .*'routing_key' meant"),
        ([{"a": "q"}, 7], r"task_routes\[1\] is no router: 7"),
        (["proj.*"], r"task_routes\[0\] is a pattern without a route"),
        (circular, r"contains itself"),
        ([("a", None)], r"is no router: None"),
    ],
)
def test_malformed_routes_are_refused_when_the_table_is_made(routes, says):
    with pytest.raises(ImproperlyConfigured, match=says):
        RouteTable(settings(task_routes=routes))


def test_malformed_answers_of_routers_are_refused_by_name(routers):
    routers.odd = lambda *args, **kw: 5
    with pytest.raises(ImproperlyConfigured, match=r"what task_routes\[0\] \(some_routers.odd\) returned for a"):
        RouteTable(settings(task_routes=["some_routers.odd"])).destination("a")
    with pytest.raises(ImproperlyConfigured, match="'queue' meant"):
        RouteTable(settings(task_routes=lambda *args, **kw: {"queeu": "x"})).destination("a")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("some_routers.missing", "'some_routers.missing', which cannot be imported: .*missing"),
        ("no_such_module.x", "which cannot be imported: No module named 'no_such_module'"),
        ("some_routers:", "which cannot be imported"),
        ("some_routers.number", r"task_routes \(some_routers.number\) is no router: 5"),
        ("some_routers.a", "goes round in circles: some_routers.a -> some_routers.b -> some_routers.a"),
        ("some_routers.c", "goes round in circles: some_routers.c -> some_routers.c"),
    ],
)
def test_names_that_lead_nowhere_or_in_circles_are_an_error(routers, name, says):
    routers.number = 5
    routers.a = "some_routers.b"
    routers.b = "some_routers.a"
    routers.c = [{"x": "y"}, "some_routers.c"]
    with pytest.raises(ImproperlyConfigured, match=says):
        RouteTable(settings(task_routes=name)).destination("a")


@pytest.mark.parametrize("queues", [5, "celery", [5], {"a": 5}, [Queue()], {"": {}}, {"a": {"nme": "b"}}])
def test_malformed_queues_are_an_error(queues):
    with pytest.raises(ImproperlyConfigured, match="queue"):
        RouteTable(settings(task_queues=queues))


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "KEPT", 50)
    table = RouteTable(settings())
    for number in range(200):
        table.destination(f"task-{number}", options={"queue": f"queue-{number}"})
    assert len(table._kept) <= 50
    assert len(table._others) <= 50


def test_a_router_that_has_no_opinion_costs_no_new_destination():
    table = RouteTable(settings(task_routes=lambda *args, **kw: None))
    assert table.destination("a") is table.destination("a")
