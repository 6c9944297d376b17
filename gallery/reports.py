"""What became of an upload, in words."""

from django.contrib import messages
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from gallery.models import Upload, UploadEntry

Outcome = UploadEntry.Outcome
# A message names no more refused files than this; the upload's page has them all.
REASONS_AT_MOST = 5


def summary(upload: Upload) -> str:
    """`498 added, 2 already here, 1 refused`"""
    parts = [f"{upload.counts[outcome]:,} {outcome.label}" for outcome in Outcome if upload.counts[outcome]]
    return ", ".join(parts) or "Nothing yet"


def tell(request: HttpRequest, upload: Upload) -> None:
    """Say on the next page what became of the upload."""
    refused = upload.entries.filter(outcome=Outcome.REFUSED)
    going_on = " Its ZIP is being unpacked in the background." if upload.state == Upload.State.OPEN else ""
    text = format_html(
        '{}.{} <a href="{}">See the report</a>{}',
        summary(upload),
        going_on,
        upload.get_absolute_url(),
        _reasons(list(refused[:REASONS_AT_MOST])),
    )
    level = messages.WARNING if refused.exists() else messages.SUCCESS
    messages.add_message(request, level, text)


def tell_failure(request: HttpRequest, reason: str) -> None:
    messages.error(request, f"The project is made, but not all pictures came in. {reason}")


def _reasons(refused: list[UploadEntry]) -> SafeString:
    rows = format_html_join("", "<li>{}: {}</li>", ((entry.name, entry.reason) for entry in refused))
    return format_html("<ul>{}</ul>", rows) if refused else SafeString("")
