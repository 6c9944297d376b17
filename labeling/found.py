"""What a search finds in one or all of a person's projects, whatever labels they have."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.core.exceptions import ValidationError

from gallery.access import User
from gallery.models import Image, Project
from labeling import query, search, terms
from labeling.query import CUTOFF, Piece
from labeling.terms import Term, mistake

MOST = 60


@dataclass(frozen=True)
class Answer:
    """The images, most similar first, each with `likeness` and project; or what is wrong with the line."""

    line: str
    project: str = ""
    images: Sequence[Image] = ()
    mistakes: ValidationError | None = None
    searched: int = 0
    number: int = 0  # of images found, shown or not
    projects: Sequence[Project] = field(default_factory=list)

    @property
    def pieces(self) -> list[Piece]:
        return query.pieces(self.line, self.mistakes) if self.mistakes else []


def find(user: User, line: str, slug: str = "", count: int = MOST) -> Answer:
    """The images found in the project of that slug, or in all that the user is a member of."""
    mine = Project.objects.for_user(user).order_by("name", "pk")
    projects = list(mine.filter(slug=slug) if slug else mine)
    try:
        sought, cutoff = _read(line)
        if not sought:
            return Answer(line, slug, projects=projects)
        what = search.read(sought, [project.pk for project in projects])
    except ValidationError as error:
        return Answer(line, slug, mistakes=error, projects=projects)
    finds = search.finds([project.pk for project in projects], what, cutoff)
    near = search.nearest(finds, count)
    images = Image.objects.select_related("project").in_bulk([image_id for image_id, _ in near])
    shown = []
    for image_id, similarity in near:
        if image := images.get(image_id):
            image.likeness = similarity
            shown.append(image)
    searched, number = sum(find.searched for find in finds), sum(len(find.ids) for find in finds)
    return Answer(line, slug, shown, searched=searched, number=number, projects=projects)


def _read(line: str) -> tuple[list[Term], float | None]:
    """What is looked for, and the cut-off. Raises ValidationError: filters need one project's labels."""
    read = terms.read(line)
    sought = [term for term in read if term.is_sought]
    cutoffs = [term for term in read if term.key == CUTOFF]
    if others := [term for term in read if not term.is_sought and term.key != CUTOFF]:
        words = "Here only the pictures are searched. Filters are in a project's gallery."
        raise ValidationError([mistake(words, term.start, term.end) for term in others])
    return sought, query.cutoff(cutoffs, sought)
