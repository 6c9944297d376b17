"""The one door for labels on their way out: what an address asks for, as a file that is streamed."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from tempfile import TemporaryFile
from typing import IO

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import QueryDict, StreamingHttpResponse
from django.utils.http import content_disposition_header
from django.utils.text import slugify

from gallery.access import User
from labeling import export_pictures, export_zip, splits
from labeling.export_formats import FORMATS, Format
from labeling.export_rows import Export, Pictures, Row
from labeling.export_table import chosen
from labeling.export_zip import Entry
from labeling.filters import ImageFilter
from labeling.models import LabelSet, NearDuplicate, Review
from labeling.splits import Splits

# An archive of more images is sent at once, with no word of its length: to know that takes a look at each.
MOST_COUNTED = 10_000
LEAST_SIDE, MOST_SIDE = 16, 16_384


class Download(forms.Form):
    """What an export's address may say, beside the gallery's filters."""

    format = forms.ChoiceField(choices=[(name, name) for name in FORMATS], required=False)
    # Read as text: a checkbox would take `images=0` for a yes.
    images = forms.BooleanField(required=False, widget=forms.TextInput)
    size = forms.IntegerField(required=False, min_value=LEAST_SIDE, max_value=MOST_SIDE)
    jpeg = forms.BooleanField(required=False, widget=forms.TextInput)
    include = forms.ChoiceField(choices=[("suggested", "suggested")], required=False)
    raw = forms.BooleanField(required=False, widget=forms.TextInput)
    columns = forms.CharField(required=False, max_length=1000)
    split = forms.CharField(required=False, max_length=20)
    seed = forms.IntegerField(required=False, min_value=0, max_value=2**31 - 1)
    prefix = forms.CharField(required=False, max_length=500)

    def clean_columns(self) -> list[str]:
        return list(
            dict.fromkeys(name.strip() for name in self.cleaned_data["columns"].split(",") if name.strip())
        )

    def clean_split(self) -> tuple[int, ...]:
        return splits.read_shares(self.cleaned_data["split"]) if self.cleaned_data["split"] else ()


def asked_for(
    label_set: LabelSet, user: User, params: QueryDict, reviews: QuerySet[Review]
) -> tuple[Export, Format, str]:
    """The export that these parameters ask for, its format and the format's name.

    `reviews`: those of the label set that the person may see, of which JSONL tells. Raises ValidationError
    for what the parameters may not say.
    """
    form, filters = Download(params), ImageFilter(params, label_set.images(), label_set=label_set, user=user)
    if not (form.is_valid() and filters.is_valid()):
        raise ValidationError(form.errors.as_data() | filters.form.errors.as_data())
    said = form.cleaned_data
    name = said["format"] or "csv"
    format = FORMATS[name]
    with_pictures = said["images"] or format.needs_pictures
    export = Export(
        label_set,
        chosen(filters.qs, suggested=bool(said["include"])),
        reviews,
        columns=_columns(format, said["columns"]),
        raw=said["raw"],
        pictures=Pictures(said["size"] or 0, said["jpeg"]) if with_pictures else None,
        splits=_splits(label_set, said["split"], said["seed"] or 0) if said["split"] else None,
        prefix=said["prefix"],
    )
    return export, format, name


def _columns(format: Format, asked: Sequence[str]) -> Sequence[str]:
    """Raises ValidationError for one that the format has no place for."""
    if strange := [name for name in asked if name not in format.columns]:
        allowed = f"There are {', '.join(format.columns)}." if format.columns else "This format has its own."
        raise ValidationError({"columns": f"{format.title} has no column “{strange[0]}”. {allowed}"})
    return asked or format.usual


def _splits(label_set: LabelSet, shares: tuple[int, ...], seed: int) -> Splits:
    """Near-duplicates stay together, whatever was decided about them."""
    pairs = NearDuplicate.objects.filter(project=label_set.project_id).order_by()
    rows = list(pairs.values_list("first", "second", "first__sha256", "second__sha256"))
    hashes = {
        pk: sha256 for first, second, *both in rows for pk, sha256 in zip((first, second), both, strict=True)
    }
    return Splits(shares, seed, ((first, second) for first, second, *_ in rows), hashes)


def download(
    label_set: LabelSet, user: User, params: QueryDict, reviews: QuerySet[Review]
) -> StreamingHttpResponse:
    """An export as a file, for pages, API and commands alike. Raises ValidationError as `asked_for`, and
    where a label can't be written in the format."""
    export, format, name = asked_for(label_set, user, params, reviews)
    base = f"{label_set.project.slug}-{slugify(label_set.name) or label_set.pk}"
    files = format.files(export)
    if len(files) == 1 and (export.pictures is None or format.holds_pictures):
        [(path, write)] = files
        return _attachment(_encoded(write()), format.content_type, f"{base}.{path.rpartition('.')[2]}")
    return _archive(export, format, f"{base}.zip")


def _encoded(parts: Iterable[str | bytes]) -> Iterator[bytes]:
    """As bytes, many short parts in one: a response costs by the part."""
    block: list[bytes] = []
    size = 0
    for part in parts:
        block.append(part.encode() if isinstance(part, str) else part)
        size += len(block[-1])
        if size >= export_zip.BLOCK:
            yield b"".join(block)
            block, size = [], 0
    if block:
        yield b"".join(block)


def _archive(export: Export, format: Format, file_name: str) -> StreamingHttpResponse:
    """A ZIP. Up to MOST_COUNTED images it is read before, so that all of it tells of the same rows and, with
    pictures as they are stored, its length is known."""
    if not export.spool(MOST_COUNTED):
        texts = ((name, _encoded(write())) for name, write in format.files(export))
        whole = export_zip.stream(chain(texts, _pictures(export, format)))
        return _attachment(whole, "application/zip", file_name)
    written = [(name, _aside(_encoded(write()))) for name, write in format.files(export)]
    texts = ((name, _read(file)) for name, file in written)
    whole = export_zip.stream(chain(texts, _pictures(export, format)))
    response = _attachment(whole, "application/zip", file_name)
    if export.pictures is None or export.pictures.are_stored:
        sizes = chain(((name, file.tell()) for name, file in written), _sizes(export, format))
        response["Content-Length"] = export_zip.length(sizes)
    return response


def _aside(parts: Iterable[bytes]) -> IO[bytes]:
    """The parts in a file of their own, at its end."""
    # Closed by who reads it to its end.
    file = TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR)  # noqa: SIM115
    file.writelines(parts)
    return file


def _read(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while block := file.read(export_zip.BLOCK):
            yield block


def _rows(export: Export, format: Format) -> Iterator[Row]:
    """Those whose picture goes along."""
    if export.pictures:
        rows = export.all_rows() if format.tells_all else export.rows()
        yield from (row for row in rows if row.path)


def _pictures(export: Export, format: Format) -> Iterator[Entry]:
    for row in _rows(export, format):
        yield format.place(export, row), export_pictures.content(row.path, row.form, export.pictures)


def _sizes(export: Export, format: Format) -> Iterator[tuple[str, int]]:
    return ((format.place(export, row), row.bytes) for row in _rows(export, format))


def _attachment(parts: Iterator[bytes], content_type: str, file_name: str) -> StreamingHttpResponse:
    disposition = content_disposition_header(as_attachment=True, filename=file_name)
    headers = {"Content-Disposition": disposition, "Cache-Control": "no-store"}
    return StreamingHttpResponse(parts, content_type=content_type, headers=headers)
