"""Every setting in one table: its name, what it may be, its default, and what it does."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from umbel.app.kinds import (
    ANYTHING,
    BOOLEAN,
    CONCURRENCY,
    COUNT,
    DELIVERY_MODE,
    EXPIRES,
    MAPPING,
    MODULES,
    NAMES,
    POSITIVE,
    RATE,
    SECONDS,
    TEXT,
    URLS,
    Kind,
    one_of,
)  # fmt: skip


class Setting(NamedTuple):
    """One setting."""

    name: str
    kind: Kind
    default: Any
    help: str
    old: tuple[str, ...] = ()
    """Celery's old upper-case names, where they do not follow from `PREFIXES`."""
    none: bool = False
    """Whether None is a value although the default is another."""
    effect: bool = True
    """False: accepted and kept for what is still to come."""


_S = Setting
_GENERAL = (
    _S("accept_content", NAMES, ("json",), "Serializers, or content types, that are read on arrival."),
    _S("result_accept_content", NAMES, None, "The same for results; None: as accept_content."),
    _S("enable_utc", BOOLEAN, True, "Whether app.now() is in UTC where no timezone is set."),
    _S("timezone", TEXT, None, "Name of the time zone of app.now() and of schedules.", ("TIME_ZONE",)),
    _S("imports", MODULES, (), "Modules with tasks, which a worker imports."),
    _S("include", MODULES, (), "The same, imported after `imports`."),
    _S("max_message_size", POSITIVE, 64 * 1024 * 1024, "Bytes of a message's body, inflated; larger ones are refused."),
    _S("delay_store", TEXT, None, "URL of a broker that keeps delayed messages where the broker itself cannot."),
)
_TASK = (
    _S("task_acks_late", BOOLEAN, True, "Acknowledge when the task has run: at least once. Celery's default is False."),
    _S("task_acks_on_failure_or_timeout", BOOLEAN, True, "Acknowledge also what failed or took too long."),
    _S("task_acks_on_failure", BOOLEAN, None, "False: what fails goes to the dead letters. None: the setting above."),
    _S("task_acks_on_timeout", BOOLEAN, None, "False: what is killed by its time limit runs again. None: as above."),
    _S("task_always_eager", BOOLEAN, False, "Run tasks here, in place of sending them."),
    _S("task_annotations", ANYTHING, None, "Attributes of tasks by their names, or '*'."),
    _S("task_compression", TEXT, None, "gzip, bzip2, lzma, zstd, ...", ("CELERY_MESSAGE_COMPRESSION",)),
    _S("task_create_missing_queues", BOOLEAN, True, "Whether a queue may be used that task_queues does not name."),
    _S("task_create_missing_queue_type", one_of("classic", "quorum"), "classic", "The type of such a queue."),
    _S("task_create_missing_queue_exchange_type", TEXT, None, "The type of its exchange; None: direct."),
    _S("task_default_delivery_mode", DELIVERY_MODE, 2, "2: messages survive the broker's restart. 1: they need not."),
    _S("task_default_exchange", TEXT, None, "None: as task_default_queue."),
    _S("task_default_exchange_type", TEXT, "direct", "direct, topic, fanout."),
    _S("task_default_priority", COUNT, None, "Priority of tasks that have none; a larger one comes first."),
    _S("task_default_queue", TEXT, "celery", "The queue where no route says another."),
    _S("task_default_queue_type", one_of("classic", "quorum"), "classic", "Its type, on RabbitMQ."),
    _S("task_default_rate_limit", RATE, None, "Rate limit of tasks that have none."),
    _S("task_default_routing_key", TEXT, None, "None: as task_default_queue."),
    _S("task_delivery_limit", POSITIVE, 3, "Starts of one message after which it goes to the dead letters."),
    _S(
        "task_eager_propagates", BOOLEAN, False, "Whether apply() raises a task's error.",
        ("CELERY_EAGER_PROPAGATES_EXCEPTIONS",),
    ),
    _S("task_ignore_result", BOOLEAN, False, "Store no results."),
    _S("task_inherit_parent_priority", BOOLEAN, False, "Whether what a task sends has its priority."),
    _S("task_offload_url", TEXT, None, "Directory, or URL, for bodies that are too large for the broker."),
    _S("task_protocol", one_of(2), 2, "The layout of messages. Both 1 and 2 are read; 2 is written."),
    _S("task_publish_retry", BOOLEAN, True, "Try again if the broker does not take a message."),
    _S(
        "task_publish_retry_policy", MAPPING,
        {"max_retries": 3, "interval_start": 0, "interval_max": 1, "interval_step": 0.2}, "How often, and the pauses.",
    ),
    _S("task_queue_max_priority", COUNT, None, "x-max-priority of queues that set none."),
    _S("task_queues", ANYTHING, None, "The queues: a list of Queue objects, or a dictionary by name."),
    _S("task_reject_on_worker_lost", BOOLEAN, None, "False: a task whose process died is failed, not run again."),
    _S("task_remote_tracebacks", BOOLEAN, False, "The traceback is in result.traceback either way.", effect=False),
    _S("task_repr_maxlevels", COUNT, 3, "How deep the arguments are shown that go with a message for monitors."),
    _S("task_retry_on_worker_lost", BOOLEAN, False, "Retry a task whose process died.", effect=False),
    _S("task_routes", ANYTHING, None, "Where tasks go: by name, pattern, or a router."),
    _S(
        "task_send_sent_event", BOOLEAN, False, "Send task-sent events.",
        ("CELERY_SEND_TASK_SENT_EVENT",), effect=False,
    ),
    _S("task_serializer", TEXT, "json", "The serializer of messages."),
    _S("task_soft_time_limit", SECONDS, None, "Seconds.", ("CELERYD_TASK_SOFT_TIME_LIMIT",)),
    _S("task_store_eager_result", BOOLEAN, False, "Store results of tasks that run eagerly.", effect=False),
    _S("task_store_errors_even_if_ignored", BOOLEAN, False, "Store failures although results are ignored."),
    _S("task_time_limit", SECONDS, None, "Seconds after which the process is killed.", ("CELERYD_TASK_TIME_LIMIT",)),
    _S("task_track_started", BOOLEAN, False, "Store the state STARTED."),
    _S("task_allow_error_cb_on_chord_header", BOOLEAN, False, "A chord's link_error also links its header's tasks."),
)  # fmt: skip
_WORKER = (
    _S("worker_concurrency", CONCURRENCY, None, "Processes or threads; None: as many as cores."),
    _S("worker_direct", BOOLEAN, False, "Consume a queue of its own too.", ("CELERY_WORKER_DIRECT",), effect=False),
    _S("worker_disable_rate_limits", BOOLEAN, False, "Ignore rate limits.", ("CELERY_DISABLE_RATE_LIMITS",)),
    _S(
        "worker_enable_remote_control", BOOLEAN, True, "Listen to remote control.",
        ("CELERY_ENABLE_REMOTE_CONTROL",), effect=False,
    ),
    _S("worker_hijack_root_logger", BOOLEAN, True, "Remove the handlers of the root logger when logging is set up."),
    _S("worker_log_color", BOOLEAN, None, "None: colours on a terminal."),
    _S("worker_log_datefmt", TEXT, None, "Format of dates in the log."),
    _S("worker_log_format", TEXT, None, "Format of the log's lines; None: the worker's own."),
    _S("worker_log_json", BOOLEAN, False, "Log as JSON lines."),
    _S("worker_task_log_datefmt", TEXT, None, "The same for the log of tasks."),
    _S("worker_task_log_format", TEXT, None, "The same for the log of tasks."),
    _S("worker_max_memory_per_child", POSITIVE, None, "KiB of memory beyond which a child is replaced."),
    _S("worker_max_tasks_per_child", POSITIVE, None, "Tasks after which a child is replaced."),
    _S("worker_pool", TEXT, "prefork", "prefork, threads or solo."),
    _S("worker_prefetch", POSITIVE, 500, "The most tasks that one child holds; it fetches by time, not by number."),
    _S("worker_redirect_stdouts", BOOLEAN, True, "What tasks print goes to the log.", ("CELERY_REDIRECT_STDOUTS",)),
    _S("worker_redirect_stdouts_level", TEXT, "WARNING", "The level for that.", ("CELERY_REDIRECT_STDOUTS_LEVEL",)),
    _S("worker_send_task_events", BOOLEAN, False, "Send task events.", ("CELERY_SEND_EVENTS",), effect=False),
    _S("worker_shutdown_timeout", SECONDS, 25.0, "Seconds that running tasks have when the worker is stopped."),
)  # fmt: skip
_BROKER = (
    _S("broker_url", URLS, None, "Where messages go; None: the SQLite file of the project.", ("CELERY_BROKER_URL",)),
    _S("broker_transport_options", MAPPING, {}, "Options of the transport's own."),
    _S("broker_connection_timeout", SECONDS, 4.0, "Seconds to connect.", none=True),
    _S("broker_heartbeat", SECONDS, None, "Seconds between heartbeats, where the transport has them."),
    _S("broker_login_method", TEXT, None, "How to log in, where the transport has a choice."),
    _S("broker_use_ssl", ANYTHING, False, "True, or a dictionary of TLS options."),
)
_RESULT = (
    _S(
        "result_backend", TEXT, None, "Where results go. None: with the messages, on SQLite and memory; else nowhere.",
        ("CELERY_RESULT_BACKEND",),
    ),
    _S("result_backend_transport_options", MAPPING, {}, "Options of the store's own."),
    _S(
        "result_expires", EXPIRES, 86400.0, "Seconds for which results are kept.", ("CELERY_TASK_RESULT_EXPIRES",),
        none=True,
    ),
    _S("result_chord_expires", EXPIRES, None, "Seconds for which an unfinished chord is kept; None: as results."),
    _S("result_extended", BOOLEAN, False, "Store the task's name, arguments, worker and queue with its result."),
    _S("result_serializer", TEXT, "json", "The serializer of results."),
)  # fmt: skip
_BEAT = (
    _S("beat_schedule", MAPPING, {}, "Periodic tasks, by name.", ("CELERYBEAT_SCHEDULE",), effect=False),
    _S("beat_scheduler", TEXT, None, "The scheduler's class.", effect=False),
    _S("beat_schedule_filename", TEXT, None, "Where the scheduler keeps what it did last.", effect=False),
    _S("beat_max_loop_interval", SECONDS, 0.0, "The most seconds that it sleeps.", effect=False),
    _S("beat_sync_every", COUNT, 0, "Tasks after which it writes down what it did.", effect=False),
    _S("beat_cron_starting_deadline", SECONDS, None, "Seconds by which a run may be made up late.", effect=False),
)  # fmt: skip

TABLE: dict[str, Setting] = {
    setting.name: setting for group in (_GENERAL, _TASK, _WORKER, _BROKER, _RESULT, _BEAT) for setting in group
}
"""The settings that Umbel has a use for, by name."""

WITHOUT_EFFECT = frozenset(
    """
    beat_enable_remote_control beat_remote_control_max_tick_age
    broker_channel_error_retry broker_connection_max_retries broker_connection_retry
    broker_connection_retry_on_startup broker_failover_strategy broker_heartbeat_checkrate broker_host
    broker_native_delayed_delivery_queue_type broker_password broker_pool_acquire_timeout broker_pool_limit broker_port
    broker_read_url broker_transport broker_user broker_vhost broker_write_url
    control_exchange control_queue_durable control_queue_exclusive control_queue_expires control_queue_ttl
    event_exchange event_queue_durable event_queue_exclusive event_queue_expires event_queue_prefix event_queue_ttl
    event_serializer
    override_backends result_backend_always_retry result_backend_base_sleep_between_retries_ms
    result_backend_max_retries result_backend_max_sleep_between_retries_ms result_backend_thread_safe result_cache_max
    result_chord_join_timeout result_chord_retry_interval result_compression result_exchange result_exchange_type
    result_failure_expires result_persistent
    security_cert_store security_certificate security_digest security_key security_key_password
    worker_agent worker_autoscaler worker_cancel_long_running_tasks_on_connection_loss worker_consumer
    worker_deduplicate_successful_tasks worker_detect_quorum_queues worker_disable_prefetch
    worker_enable_prefetch_count_reduction worker_enable_soft_shutdown_on_idle worker_eta_task_limit worker_lost_wait
    worker_pool_putlocks worker_pool_restarts worker_pool_start_method worker_prefetch_multiplier
    worker_proc_alive_timeout worker_soft_shutdown_timeout worker_state_db worker_timer worker_timer_precision
    cache_backend cache_backend_options mongodb_backend_settings couchbase_backend_settings arangodb_backend_settings
    redis_backend_credential_provider redis_backend_health_check_interval redis_backend_use_ssl redis_client_name
    redis_db redis_host redis_max_connections redis_password redis_port redis_retry_on_timeout
    redis_socket_connect_timeout redis_socket_keepalive redis_socket_timeout redis_username
    database_create_tables_at_setup database_engine_callback database_engine_options database_short_lived_sessions
    database_table_names database_table_schemas database_url
    elasticsearch_max_retries elasticsearch_retry_on_timeout elasticsearch_save_meta_as_text elasticsearch_timeout
    cassandra_auth_kwargs cassandra_auth_provider cassandra_bundle_path cassandra_entry_ttl cassandra_keyspace
    cassandra_options cassandra_port cassandra_read_consistency cassandra_secure_bundle_path cassandra_servers
    cassandra_table cassandra_write_consistency
    s3_access_key_id s3_base_path s3_bucket s3_endpoint_url s3_region s3_secret_access_key
    azureblockblob_base_path azureblockblob_connection_timeout azureblockblob_container_name
    azureblockblob_read_timeout azureblockblob_retry_increment_base azureblockblob_retry_initial_backoff_sec
    azureblockblob_retry_max_attempts
    gcs_base_path gcs_bucket gcs_project gcs_threadpool_maxsize gcs_ttl
    cosmosdbsql_collection_name cosmosdbsql_consistency_level cosmosdbsql_database_name
    cosmosdbsql_max_retry_attempts cosmosdbsql_max_retry_wait_time dynamodb_endpoint_url
    worker_executable worker_gid worker_logfile worker_pidfile worker_uid worker_umask
    beat_executable beat_gid beat_logfile beat_pidfile beat_uid beat_umask
    events_executable events_gid events_logfile events_pidfile events_uid events_umask
    """.split()
)
"""Settings of Celery's that are accepted and read as None by default, and that nothing here asks for."""

PREFIXES: dict[str, tuple[str, ...]] = {
    "task": ("CELERY_", "CELERY_TASK_"),
    "worker": ("CELERYD_", "CELERY_WORKER_"),
    "broker": ("BROKER_", "CELERY_BROKER_"),
    "beat": ("CELERYBEAT_", "CELERY_BEAT_"),
    "cassandra": ("CASSANDRA_", "CELERY_CASSANDRA_"),
}
"""What the old names of a group begin with, in place of its own name; others have ``CELERY_`` before their name."""


@lru_cache(1)
def old_names() -> dict[str, str]:
    """The name of each setting by each of its old upper-case names."""
    names: dict[str, str] = {}
    for name in (*TABLE, *sorted(WITHOUT_EFFECT)):
        group, _, rest = name.partition("_")
        setting = TABLE.get(name)
        own = setting.old if setting is not None else ()
        for prefix in PREFIXES.get(group, ()):
            names.setdefault(f"{prefix}{rest.upper()}", name)
        for old in (f"CELERY_{name.upper()}", *own):
            names.setdefault(old, name)
    names.update({old: setting.name for setting in TABLE.values() for old in setting.old})
    names.update(_IRREGULAR)
    return names


_IRREGULAR = {
    "CELERY_MAX_CACHED_RESULTS": "result_cache_max",
    "CELERYD_WORKER_LOST_WAIT": "worker_lost_wait",
    "CELERY_RESULT_DBURI": "database_url",
    "CELERY_RESULT_ENGINE_OPTIONS": "database_engine_options",
    "CELERY_RESULT_DB_SHORT_LIVED_SESSIONS": "database_short_lived_sessions",
    "CELERY_RESULT_DB_TABLENAMES": "database_table_names",
}
