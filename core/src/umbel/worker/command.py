"""`umbel worker`: options from the command line and the settings, checks, the banner, and then the work."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from umbel import signals
from umbel.exceptions import ImproperlyConfigured
from umbel.spec import BrokerError
from umbel.worker.agent import run_agent
from umbel.worker.banner import banner
from umbel.worker.checks import check, checked_pool, embedded
from umbel.worker.cpus import usable_cpus
from umbel.worker.embedded import run_embedded
from umbel.worker.entry import run_child
from umbel.worker.logs import level_number, setup_logging, use_color
from umbel.worker.names import expand, resolve_name
from umbel.worker.options import WorkerOptions
from umbel.worker.processes import in_a_process
from umbel.worker.ratelimit import RateLimits
from umbel.worker.redirect import redirect_stdouts
from umbel.worker.supervisor import Supervisor

if TYPE_CHECKING:
    from umbel.app.base import Umbel
    from umbel.worker.names import NodeName

logger = logging.getLogger("umbel.worker")


def run_worker(
    app: Umbel,
    *,
    hostname: str | None = None,
    loglevel: str | int | None = None,
    log_json: bool | None = None,
    no_color: bool = False,
    quiet: bool = False,
    include: str | Iterable[str] = (),
    purge: bool = False,
    **asked: Any,
) -> int:
    """Run a worker until it is told to stop; the exit code. `asked` are the arguments of `build_options`."""
    conf = app.conf
    level = level_number(loglevel if loglevel is not None else "WARNING")
    as_json = conf.worker_log_json if log_json is None else log_json
    color = False if no_color else conf.worker_log_color
    _set_up_logging(conf, level, as_json, color)
    app.import_default_modules()
    for module in _names(include):
        _import(module)
    node = resolve_name(hostname)
    try:
        signals.celeryd_init.send(sender=node.name, instance=app, conf=conf, options=asked)
        options = build_options(app, hostname=node.name, loglevel=level, **asked)
        notes = check(app, options)
        signals.celeryd_after_setup.send(sender=node.name, instance=app, conf=conf)
        if not quiet and not as_json:
            print(banner(app, options, color=use_color(sys.stdout, color), notes=notes), flush=True)  # noqa: T201
        else:
            for note in notes:
                logger.warning("%s", note)
        without_effect = conf.without_effect()
        if without_effect:
            logger.warning("These settings are known and have no effect: %s", ", ".join(without_effect))
        if purge:
            _purge(app, options)
        try:
            return _run(app, options, node)
        finally:
            if options.rates is not None:
                options.rates.close()
    finally:
        node.close()


def build_options(
    app: Umbel,
    *,
    hostname: str | None = None,
    queues: str | Iterable[str] | None = None,
    exclude_queues: str | Iterable[str] = (),
    pool: str | None = None,
    concurrency: int | str | None = None,
    prefetch: int | None = None,
    time_limit: float | None = None,
    soft_time_limit: float | None = None,
    max_tasks_per_child: int | None = None,
    max_memory_per_child: int | None = None,
    grace: float | None = None,
    loglevel: int = logging.WARNING,
    **others: Any,
) -> WorkerOptions:
    """What the command line says, else the settings, else the defaults; ImproperlyConfigured names what is wrong.

    `others` are further fields of WorkerOptions. Whoever asks closes its `rates`, if it has any.
    """
    conf = app.conf
    chosen = checked_pool(pool or conf.worker_pool, asked=pool is not None or conf.value_set_for("worker_pool"))
    soft = _first(soft_time_limit, conf.task_soft_time_limit)
    hard = _first(time_limit, conf.task_time_limit)
    if soft and hard and soft > hard:
        raise ImproperlyConfigured(f"the soft time limit ({soft:g} s) is longer than the hard one ({hard:g} s)")
    rates = {name: _first(task.rate_limit, conf.task_default_rate_limit) for name, task in app.tasks.items()}
    return WorkerOptions(
        hostname=hostname or expand("%h"),
        queues=_queues(app, queues, exclude_queues),
        pool=chosen,
        concurrency=1 if chosen == "solo" else _concurrency(_first(concurrency, conf.worker_concurrency)),
        prefetch=_first(prefetch, conf.worker_prefetch),
        soft_time_limit=soft or None,
        time_limit=hard or None,
        max_tasks_per_child=_first(max_tasks_per_child, conf.worker_max_tasks_per_child),
        max_memory_per_child=_first(max_memory_per_child, conf.worker_max_memory_per_child),
        delivery_limit=conf.task_delivery_limit,
        grace=_first(grace, conf.worker_shutdown_timeout),
        max_message_size=conf.max_message_size,
        loglevel=loglevel,
        rates=RateLimits(rates) if any(rates.values()) and not conf.worker_disable_rate_limits else None,
        **others,
    )


def _run(app: Umbel, options: WorkerOptions, node: NodeName) -> int:
    conf = app.conf
    redirects = level_number(conf.worker_redirect_stdouts_level) if conf.worker_redirect_stdouts else None
    if embedded(app, options):
        before = sys.stdout, sys.stderr
        if redirects is not None:
            redirect_stdouts(redirects)
        try:
            return run_embedded(app, options)
        finally:
            sys.stdout, sys.stderr = before

    def in_new_process() -> None:
        node.close()
        if redirects is not None:
            redirect_stdouts(redirects)
        app.on_after_fork.send(sender=app)

    return Supervisor(app, options, child=run_child, agent=run_agent, after_fork=in_new_process).run()


def _set_up_logging(conf: Any, level: int, as_json: bool, color: bool | None) -> None:
    setup_logging(
        level,
        json=as_json,
        color=color,
        hijack=conf.worker_hijack_root_logger,
        format=conf.worker_log_format,
        datefmt=conf.worker_log_datefmt,
        task_format=conf.worker_task_log_format,
        task_datefmt=conf.worker_task_log_datefmt,
    )


def _queues(app: Umbel, wanted: str | Iterable[str] | None, excluded: str | Iterable[str]) -> tuple[str, ...]:
    names = _names(wanted) if wanted is not None else list(app.queue_names())
    gone = set(_names(excluded))
    left = tuple(dict.fromkeys(name for name in names if name not in gone))
    if not left:
        raise ImproperlyConfigured("no queue is left to consume: check -Q, -X and task_queues")
    return left


def _concurrency(wanted: int | str | None) -> int:
    if wanted is None or wanted == "auto":
        return usable_cpus()
    try:
        number = int(wanted)
    except ValueError:
        number = 0
    if number < 1:
        raise ImproperlyConfigured(f"concurrency {wanted!r} is not a whole number, 1 or more, or 'auto'")
    return number


def _purge(app: Umbel, options: WorkerOptions) -> None:
    def work() -> None:
        for queue in options.queues:
            gone = app.broker.purge(queue)
            count = "" if gone is None else f", {gone} message{'' if gone == 1 else 's'} deleted"
            logger.warning("Purged queue %s%s", queue, count)

    if embedded(app, options):
        work()
    elif (error := in_a_process(work)) is not None:  # this one forks soon, and must have no connection then
        raise BrokerError(f"the queues could not be purged: {error}")


def _import(name: str) -> None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is None or f"{name}.".startswith(f"{exc.name}."):
            raise ImproperlyConfigured(f"-I {name}: there is no module {exc.name}") from exc
        raise  # it is there, and something that it imports is not


def _names(words: str | Iterable[str]) -> list[str]:
    given = words.split(",") if isinstance(words, str) else words
    return [name.strip() for name in given if name.strip()]


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
