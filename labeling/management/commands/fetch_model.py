from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from labeling import clip, hub


class Command(BaseCommand):
    help = "Download a CLIP model into DATA_DIR. The only command that ever downloads; run again, it resumes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "name", nargs="?", default=settings.CLIP_MODEL, help="A model of the Hugging Face hub."
        )
        parser.add_argument(
            "--revision", help="A commit; by default the one that is known to be good, or the newest."
        )

    def handle(self, *args: Any, name: str, revision: str | None, **options: Any) -> None:
        if clip.is_folder(name):
            raise CommandError(f"{name} is a folder of your own. Name a model of the Hugging Face hub.")
        try:
            model = hub.fetch(name, revision)
        except (hub.CannotFetch, clip.ModelUnusable) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            stopped = "Stopped. What came so far is kept: run the command again to go on."
            raise CommandError(stopped, returncode=130) from None
        self.stdout.write(f"{name} is ready in {model.path}.")
        if name == settings.CLIP_MODEL:
            self.stdout.write(
                "The site uses it from now on. Press “Score again” where there are labels already."
            )
        else:
            self.stdout.write(f"To use it, set CLIP_MODEL={name} and restart the site.")
