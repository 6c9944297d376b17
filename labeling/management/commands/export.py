import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.http import QueryDict

from gallery import terminal
from gallery.terminal import FAILED, USAGE
from labeling import exports, votes
from labeling.export_formats import FORMATS
from labeling.models import LabelSet


class Command(BaseCommand):
    help = (
        "Export a label set to a file, or to standard output with “-”. Exits with 0 where it is whole, 2 "
        "where it was not asked for rightly, 3 where it failed; then FILE is as it was before."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("label_set", type=int, metavar="LABEL_SET", help="Its id, as in its address.")
        parser.add_argument("file", metavar="FILE")
        parser.add_argument("--format", choices=list(FORMATS), default="csv")
        parser.add_argument(
            "--filter", default="", metavar="LINE", help='A search line: "label:cat by:anna".'
        )
        parser.add_argument("--images", action="store_true", help="With the pictures.")
        parser.add_argument("--size", type=int, metavar="N", help="At most N pixels a side.")
        parser.add_argument("--jpeg", action="store_true", help="All of them as JPEG.")
        parser.add_argument("--suggested", action="store_true", help="CLIP's suggestions as well.")
        parser.add_argument("--raw", action="store_true", help="CSV cells as they are, formulas too.")
        parser.add_argument("--columns", default="", help="Some of them, with commas between.")
        parser.add_argument(
            "--split", default="", metavar="80/10/10", help="Train, val and test, in percent."
        )
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--prefix", default="", help="What Label Studio's addresses begin with.")
        terminal.add_arguments(parser, "export")

    def handle(self, *args: Any, label_set: int, file: str, json: bool, **options: Any) -> None:
        terminal.check_migrated()
        found = LabelSet.objects.select_related("project").filter(pk=label_set).first()
        if found is None:
            raise CommandError(f"There is no label set {label_set}.", returncode=USAGE)
        user = terminal.member(found.project, options["user"], "export")
        role = found.project.memberships.get(user=user).role
        reviews = votes.visible(found, user, role, found.reviews.all())
        try:
            response = exports.download(found, user, _params(options), reviews)
            if file == "-":
                for part in response.streaming_content:
                    sys.stdout.buffer.write(part)
                return
            size = self.save(response, Path(file))
        except ValidationError as error:
            raise CommandError(" ".join(error.messages), returncode=USAGE) from error
        except OSError as error:
            raise CommandError(
                f"{file} could not be written: {error.strerror}.", returncode=FAILED
            ) from error
        terminal.end(self, {"file": file, "bytes": size}, f"Wrote {size:,} bytes to {file}.", as_json=json)

    def save(self, response: Any, path: Path) -> int:
        """Whole or not at all."""
        total = int(response.get("Content-Length", 0)) or None
        with NamedTemporaryFile(dir=path.parent, delete=False) as out:
            try:
                with terminal.bar(None, path.name, total, unit="B", unit_scale=True) as bar:
                    for part in response.streaming_content:
                        out.write(part)
                        bar.update(len(part))
                os.replace(out.name, path)
            except BaseException:
                os.unlink(out.name)
                raise
        return path.stat().st_size


def _params(options: dict[str, Any]) -> QueryDict:
    params = QueryDict(mutable=True)
    params["format"], params["q"] = options["format"], options["filter"]
    params["include"] = "suggested" if options["suggested"] else ""
    for name in ("images", "jpeg", "raw"):
        params[name] = "1" if options[name] else ""
    for name in ("size", "columns", "split", "seed", "prefix"):
        params[name] = str(options[name] or "")
    return params
