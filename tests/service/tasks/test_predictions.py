"""How large a reply of predictions may become, told before anything is computed."""

from __future__ import annotations

import pytest

from service.errors import ServiceError
from service.tasks.predictions import predictions_size
from tests.model.made_up_tasks import linear_task, sense_task


def test_every_label_counts_for_every_row() -> None:
    assert predictions_size(linear_task(num_labels=3), 10, max_bytes=960) == 960
    with pytest.raises(ServiceError) as caught:
        predictions_size(linear_task(num_labels=3), 10, max_bytes=959)
    assert (caught.value.type.name, caught.value.where) == ("reply_too_large", "inputs")
    assert caught.value.message == (
        "expected a reply of at most 959 bytes, got about 960 for 10 predictions of 3 labels"
    )


def test_a_word_that_the_task_never_saw_may_get_its_vector() -> None:
    assert predictions_size(sense_task(dim=4), 10, max_bytes=1000) == 960
    assert predictions_size(sense_task(dim=1024), 10, max_bytes=1_000_000) == 10 * 1024 * 17
