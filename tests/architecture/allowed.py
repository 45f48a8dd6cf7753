"""The one table of exceptions to the architecture tests. One that is not needed any more fails them too."""

PLUGIN = "a plugin's module names all that it brings: the broker and, on the same server or file, the result store"

ALLOWED: dict[tuple[str, str], str] = {
    # (rule, where): the reason
    ("upward import", "umbel/brokers/memory/plugin.py"): PLUGIN,
    ("upward import", "umbel/brokers/sqlite/plugin.py"): PLUGIN,
}
