"""What lies in a site's database and folders, seen from outside."""

import hashlib
import sqlite3
from contextlib import closing

import PIL.Image
from visitors import Site


def images_in(site: Site, slug: str) -> list[sqlite3.Row]:
    sql = "SELECT i.* FROM gallery_image i JOIN gallery_project p ON p.id = i.project_id WHERE p.slug = ?"
    with closing(sqlite3.connect(site.data_dir / "db.sqlite3", timeout=20)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(sql, [slug]).fetchall()


def faults(site: Site, images: list[sqlite3.Row]) -> list[str]:
    """What a row says that its files don't."""
    found = []
    for image in images:
        original = site.data_dir / "media" / image["file"]
        if not original.exists() or hashlib.sha256(original.read_bytes()).hexdigest() != image["sha256"]:
            found.append(f"{image['name']}: its file is missing or is another")
        for field in ("preview", "thumbnail"):
            try:
                with PIL.Image.open(site.data_dir / "media" / image[field]) as picture:
                    picture.load()
            except OSError as error:
                found.append(f"{image['name']}: {field}: {error}")
    return found


def orphans(site: Site) -> set[str]:
    """Files that no row knows, in their place or on the way there; only where nothing comes in just now."""
    files = [path for folder in ("media", "tmp") for path in (site.data_dir / folder).rglob("*")]
    stored = {str(path.relative_to(site.data_dir)) for path in files if path.is_file()}
    with closing(sqlite3.connect(site.data_dir / "db.sqlite3", timeout=20)) as connection:
        for row in connection.execute("SELECT file, preview, thumbnail FROM gallery_image"):
            stored -= {f"media/{name}" for name in row}
    return stored
