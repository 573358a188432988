from __future__ import annotations

import pickle

import pytest

from wsiparse import errors

ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.WsiparseError)]


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_survives_the_way_between_processes(kind: type[errors.WsiparseError]) -> None:
    error = pickle.loads(pickle.dumps(kind("what was found; what to do")))
    assert type(error) is kind
    assert str(error) == "what was found; what to do"
    assert error.reason == kind.reason


def test_reason_codes_are_unique() -> None:
    reasons = [kind.reason for kind in ERRORS]
    assert len(reasons) == len(set(reasons))
