from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.http import QueryDict

from gallery import projects
from labeling import paging, query
from labeling.models import Annotation, LabelSet
from labeling.paging import Counts
from labeling.selection import ORDERINGS, Selection
from tests.labeling import rows


@pytest.fixture
def label_set(db: None) -> LabelSet:
    """150 images: some share a probability, some are settled, some have no match, some neither or both."""
    user = User.objects.create_user("anna")
    project = projects.create(user, "Animals")
    made = rows.label_set(project, "cat", "dog")
    images = rows.images(project, 150)
    rows.match(made, images[:130], [(number % 7) / 7 for number in range(130)])
    cat = made.labels.first()
    for image in images[::9]:
        Annotation.objects.create(image=image, label_set=made, label=cat, status="accepted", decided_by=user)
    return made


def test_counts_from_indexes_are_those_of_the_images(label_set: LabelSet) -> None:
    assert set(Counts(label_set).rows) == set(Counts(label_set, label_set.images()).rows)


@pytest.mark.parametrize(
    "line",
    ["name:image", "-by:anna", "-probability:>0.9", "-margin:<0.1 -uploader:me", "id:<50"],
)
def test_counts_by_what_is_left_out_are_those_of_the_images(label_set: LabelSet, line: str) -> None:
    search = query.parse(line, label_set, User.objects.get(username="anna"))
    images, others = search.split_uncounted(label_set.images())
    expected = set(Counts(label_set, images).rows)
    assert set(paging.counted(label_set, others)) == set(Counts(label_set, images, others).rows) == expected


@pytest.mark.parametrize(
    "line",
    [
        *("", "status:unreviewed", "probability:>0.3", "probability:>0.3 margin:<0.9", "-probability:>0.9"),
        *("name:image", "-label:dog", "-by:anna margin:>0.01"),
    ],
)
@pytest.mark.parametrize("ordering", [value for value, _ in ORDERINGS])
def test_the_pages_together_are_the_whole_list(label_set: LabelSet, line: str, ordering: str) -> None:
    user = User.objects.get(username="anna")
    selection = Selection(label_set, QueryDict(urlencode({"q": line, "ordering": ordering})), user)
    whole = list(selection.images.values_list("pk", flat=True))
    assert len(whole) == selection.number() > 60
    for start in range(0, 240, 60):
        assert [image.pk for image in selection.rows(start, start + 60)] == whole[start : start + 60]
