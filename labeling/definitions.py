"""A label set as it leaves and comes back: a JSON document, or a plain list with one label a line."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.utils.http import content_disposition_header
from django.utils.text import slugify

from labeling.label_sets import LabelSpec
from labeling.models import Label, LabelSet
from labeling.serializers import LabelSetSerializer

# The version of the JSON document. A later one is refused, since it may say what this site would leave out.
FORMAT = 1
# What ends a line for Python, and the mark before a file's text: in a line they stand as `\u2028`.
UNWRITABLE = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029\ufeff]")
# In a line: a backslash takes the meaning of these away; a colon ends the name; a bar parts prompts.
MARK = re.compile(r"\\([\\:|{])|\\u(000[a-d]|001[c-e]|0085|2028|2029|feff)|(:)(?=\s|$)|(\|)")
BACKSLASH = re.compile(rf"\\(?=[\\:|{{]|u[0-9a-f]{{4}}|{UNWRITABLE.pattern}|$)")
COLON, BRACE = re.compile(r":(?=\s|$)"), re.compile(r'^\{(?=\s*("|$))')
JSON_STARTS = re.compile(r'\s*\{\s*"')


@dataclass(frozen=True)
class Definition:
    """What a label set is made of. None: it isn't said."""

    labels: Sequence[LabelSpec]
    name: str | None = None
    templates: Sequence[str] | None = None
    votes: int | None = None


def to_line(label: Label | LabelSpec) -> str:
    """A label as one line: `red car`, or `red car: a red car | a red automobile`."""
    name = BRACE.sub(r"\\{", COLON.sub(r"\\:", BACKSLASH.sub(r"\\\\", label.name)))
    prompts = (BACKSLASH.sub(r"\\\\", prompt).replace("|", "\\|") for prompt in label.prompts)
    line = f"{name}: {' | '.join(prompts)}" if label.prompts else name
    return UNWRITABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", line)


def from_line(line: str) -> LabelSpec:
    """The label that `to_line` wrote, or that a person did."""
    texts, at = [""], 0
    for mark in MARK.finditer(line):
        literal, code, colon, bar = mark.groups()
        texts[-1] += line[at : mark.start()]
        at = mark.end()
        if (colon and len(texts) == 1) or (bar and len(texts) > 1):
            texts.append("")
        else:
            texts[-1] += chr(int(code, 16)) if code else literal or mark[0]
    texts[-1] += line[at:]
    name, *prompts = [text.strip() for text in texts]
    return LabelSpec(name, [prompt for prompt in prompts if prompt])


def content(label_set: LabelSet) -> dict[str, Any]:
    """The JSON document as Python has it. Nothing of the site is in it: no id, no project, no date."""
    labels = [{"name": label.name, "prompts": label.prompts} for label in label_set.labels.all()]
    head = {"format": FORMAT, "name": label_set.name, "templates": label_set.templates}
    return head | {"votes": label_set.votes, "labels": labels}


def as_json(label_set: LabelSet) -> str:
    """All that the label set is made of: read again, it makes the same one."""
    return json.dumps(content(label_set), ensure_ascii=False, indent=2) + "\n"


def as_text(label_set: LabelSet) -> str:
    """The labels with their prompts. Its name, templates and votes are in the JSON document alone."""
    return "".join(to_line(label) + "\n" for label in label_set.labels.all())


FORMATS = {
    "json": (as_json, "application/json"),
    "txt": (as_text, "text/plain; charset=utf-8"),
}


def download(label_set: LabelSet, format: str) -> HttpResponse:
    """A label set as a file, for pages and API alike. Raises ValidationError for an unknown format."""
    if format not in FORMATS:
        raise ValidationError({"format": f"“{format}” is no format: there are {' and '.join(FORMATS)}."})
    write, content_type = FORMATS[format]
    name = f"{label_set.project.slug}-{slugify(label_set.name) or label_set.pk}-labels.{format}"
    headers = {
        "Content-Disposition": content_disposition_header(as_attachment=True, filename=name),
        "Cache-Control": "no-store",
    }
    return HttpResponse(write(label_set), content_type=content_type, headers=headers)


def read(text: str) -> Definition:
    """What a JSON document or a plain list says. Raises ValidationError with one sentence.

    How many labels there may be, and what they may be called, is for the door to say.
    """
    if JSON_STARTS.match(text):
        return _from_json(text)
    lines = text.splitlines()
    if bad := next((number for number, line in enumerate(lines, 1) if "\0" in line), None):
        raise ValidationError(f"Line {bad} has a character in it that is no text.")
    return Definition([from_line(line) for line in lines if line.strip()])


def read_bytes(content: bytes) -> Definition:
    """As `read`, of a file."""
    try:
        return read(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValidationError(f"Line {line} can't be read: save the file as text in UTF-8.") from error


def _from_json(text: str) -> Definition:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ValidationError(f"The JSON breaks off at {place}: {error.msg}.") from error
    except (ValueError, RecursionError) as error:
        raise ValidationError("The JSON is nested too deeply, or a number in it is too long.") from error
    return from_document(document)


def from_document(document: dict[str, Any]) -> Definition:
    """A JSON document as Python has it. Raises ValidationError with one sentence."""
    if document.get("format", FORMAT) != FORMAT:
        raise ValidationError(f"The JSON is of another format than {FORMAT}, which this site reads.")
    serializer = LabelSetSerializer(data={"name": "Labels"} | document)
    if not serializer.is_valid():
        raise ValidationError(_sentence(serializer.errors))
    asked = serializer.validated_data
    # An id names a label of the label set that it came from.
    labels = [LabelSpec(label["name"], label.get("prompts", [])) for label in asked["labels"]]
    name = asked["name"] if "name" in document else None
    return Definition(labels, name, asked.get("templates"), asked.get("votes"))


def _sentence(errors: Any, place: str = "") -> str:
    """The first of the serializer's problems, with its place, as in `labels → 3 → name`."""
    if isinstance(errors, list):
        return f"In the JSON, {place}: {errors[0]}"
    [key, problem] = next(iter(errors.items()))
    part = key + 1 if isinstance(key, int) else key
    inside = place if part == "non_field_errors" else f"{place} → {part}" if place else part
    return _sentence(problem, inside)
