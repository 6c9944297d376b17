"""A short form of `benchmarks/decisions.py`: fewer runs, and no search for the shortest one that fails."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.labeling.machine import Decisions

RUNS, STEPS = 30, 50


@pytest.mark.django_db
def test_decisions_do_what_people_expect_whatever_happens_in_between() -> None:
    options = settings(
        max_examples=RUNS,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    run_state_machine_as_test(Decisions, settings=options)
