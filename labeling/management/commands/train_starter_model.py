import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from labeling import clip
from labeling.starter import drawing, training

SEED = 0
README = """\
# The starter model

A small CLIP (a transformers `CLIPModel`) that this project trained itself, from random weights, on pictures
that its own code draws. No picture and no weight of anybody else's went into it. It lets clipsite label
pictures from the first minute, with no download, by the same code that runs the models of the hub.

## What it knows

- colours: {colours}
- shapes: {shapes}
- patterns: {patterns}
- how many: {counts}
- backgrounds: {backgrounds}
- sizes: {sizes}

Labels may combine them: “red circle”, “two green stars”, “striped”. It takes any other text too, and knows
nothing of it, nor of photographs.

## How it is built and trained

- Pictures: {side} x {side} pixels, patches of {patch}, {vision_layers} layers of width {vision_width}.
- Texts: up to {tokens} tokens, {text_layers} layers of width {text_width}.
- Embeddings: {embedding} numbers.
- {pictures} drawn pictures in {steps} batches of {batch}. A caption that is true of several pictures of a
  batch counts as right for each of them.
- {megabytes:.1f} MB on disk. This training took {minutes:.1f} minutes.

## Held-out result

The right label of its set is the most similar one, on 1,000 pictures each that training never saw, with the
prompt template `{template}`:

{table}

## Train it again

    .venv/bin/python manage.py train_starter_model --seed {seed}

It writes the folder `model` and this file anew. `labeling/starter/drawing.py` draws, `training.py` trains.
"""


class Command(BaseCommand):
    help = "Train the starter model anew, on pictures that it draws itself. Two cores need some ten minutes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seed", type=int, default=SEED, help="Another seed makes another model.")
        parser.add_argument(
            "--output", type=Path, default=clip.STARTER, metavar="DIR", help="Where the model goes."
        )

    def handle(self, *args: Any, seed: int, output: Path, **options: Any) -> None:
        start = time.monotonic()
        try:
            small = training.train(output, seed, progress=True)
            seconds = time.monotonic() - start
            large = training.evaluate(output, f"held out, large {seed}", side=320, jpeg=True)
            table = result_table(small, large)
            # The README speaks of the model beside it, so a model elsewhere gets its own.
            readme = output.parent / "README.md" if output == clip.STARTER else output / "README.md"
            readme.write_text(readme_text(output, seed, seconds, table))
        except OSError as error:
            raise CommandError(f"The model can't be written to {output}: {error}") from error
        self.stdout.write(f"Trained in {seconds / 60:.1f} minutes. On 1,000 pictures never seen before:\n")
        self.stdout.write(table)
        self.stdout.write(f"The model is in {output}.")


def result_table(small: dict[str, float], large: dict[str, float]) -> str:
    """A Markdown table of two results of `training.evaluate`, as the model sees pictures and from uploads."""
    head = [f"| Labels | {training.SIDE} pixels | 320 pixels, through JPEG |", "| --- | ---: | ---: |"]
    return "\n".join([*head, *(f"| {name} | {small[name]:.1%} | {large[name]:.1%} |" for name in small)])


def readme_text(folder: Path, seed: int, seconds: float, table: str) -> str:
    """What there is to know of the model in the folder, which took so long to train."""
    return README.format(
        colours=", ".join(drawing.COLOURS),
        shapes=", ".join(drawing.SHAPES),
        patterns=", ".join(drawing.PATTERNS),
        counts=", ".join(drawing.COUNT_WORDS.values()),
        backgrounds=", ".join(drawing.BACKGROUNDS),
        sizes=", ".join(drawing.SIZES),
        side=training.SIDE,
        patch=training.VISION["patch_size"],
        vision_layers=training.VISION["num_hidden_layers"],
        vision_width=training.VISION["hidden_size"],
        tokens=training.TEXT["max_position_embeddings"],
        text_layers=training.TEXT["num_hidden_layers"],
        text_width=training.TEXT["hidden_size"],
        embedding=training.EMBEDDING,
        pictures=f"{training.PICTURES:,}",
        steps=f"{training.STEPS:,}",
        batch=training.BATCH,
        megabytes=sum(file.stat().st_size for file in folder.iterdir()) / 1e6,
        minutes=seconds / 60,
        template=training.PROMPT_TEMPLATE,
        table=table,
        seed=seed,
    )
