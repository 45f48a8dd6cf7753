"""The tests of the whole workspace; a package, so that no other distribution's `tests` takes its name."""
