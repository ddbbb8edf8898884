"""Labels of held-out evaluations: by them everybody knows the step and the set."""

from itertools import islice

import pytest

from rltf.buffer.evaluations import label_of, labels_of, set_of


@pytest.mark.parametrize(
    ("name", "label"), [("", "step-000040"), ("mbpp", "mbpp:step-000040"), ("step-000001", "step-000001:step-000040")]
)
def test_a_label_names_step_and_set(name: str, label: str) -> None:
    assert label_of(40, name) == label
    assert [set_of(each) for each in islice(labels_of(label), 3)] == [name] * 3


def test_what_is_no_set_s_has_the_settings_of_the_main_one() -> None:
    assert {set_of(label) for label in ("warm-start-003", "part-000000-000016")} == {""}
