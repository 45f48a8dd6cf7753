"""The one table of exceptions to the architecture tests. One that is not needed any more fails them too."""

ALLOWED: dict[tuple[str, str], str] = {
    # (rule, where): the reason
}
