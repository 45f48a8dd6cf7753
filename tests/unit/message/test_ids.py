from __future__ import annotations

import uuid

from umbel.message.ids import derived_id, new_id


def test_a_new_id_is_a_random_uuid_as_uuid4_makes_them():
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    for id in ids:
        parsed = uuid.UUID(id)
        assert (str(parsed), parsed.version, parsed.variant) == (id, 4, uuid.RFC_4122)


def test_a_derived_id_is_the_same_each_time_and_differs_by_all_it_follows_from():
    assert derived_id("parent", "link", 1) == derived_id("parent", "link", 1)
    children = {
        derived_id(parent, kind, index) for parent in "ab" for kind in ("link", "chain") for index in (0, 1, 10)
    }
    assert len(children) == 12
    assert uuid.UUID(derived_id("parent", "link")).version == 5
