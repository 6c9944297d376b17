"""Labels as XML: CVAT's, and Label Studio's config."""

from collections.abc import Iterator
from typing import Any

from defusedxml import DefusedXmlException, ElementTree

from labeling.import_found import Declared, Found, Read, Unreadable, the_label, the_one
from labeling.import_sources import Source

# Of one image or label, and of all before the first.
MOST_ELEMENTS = 100_000


def elements(source: Source, path: str) -> Iterator[tuple[str, Any]]:
    """An XML document's elements as they start and end. Raises Unreadable, also for what could do harm."""
    with source.open(path) as file:
        try:
            yield from ElementTree.iterparse(file, ("start", "end"), forbid_dtd=True)
        except DefusedXmlException as error:
            raise Unreadable(
                f"{path} defines entities or a document type, which are not read here."
            ) from error
        except (ElementTree.ParseError, ValueError, LookupError) as error:
            raise Unreadable(f"{path} is no whole XML document: {error}"[:300]) from error


def read_cvat(source: Source) -> Read:
    [path] = the_one(source, "annotations.xml", ".xml")
    since = 0
    for event, node in elements(source, path):
        since += event == "start"
        if since > MOST_ELEMENTS:
            raise Unreadable(f"{path} has too much between its images: it is no list of labels by CVAT.")
        if event == "start":
            continue
        if node.tag == "label" and (name := node.findtext("name")):
            yield Declared(name)
        elif node.tag == "image":
            found = Found(f"image {node.get('id')}", node.get("name") or "")
            tags = tuple(dict.fromkeys(tag.get("label") or "" for tag in node.iter("tag")))
            auto = all(tag.get("source") == "auto" for tag in node.iter("tag"))
            yield the_label(found, tags)._replace(is_prediction=auto) if tags else found
            # What was read is let go: else it all stays in memory.
            node.clear()
            since = 0
