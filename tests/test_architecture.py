"""Who may import whom, read from the source."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

ROOT = settings.BASE_DIR
TORCH_ROOMS = {"labeling/clip.py", "labeling/starter/training.py"}
# Pages, API, and what they are made of: whatever is not a door, the engine, the store or a worker.
PAGES = (
    "views",
    "api",
    "forms",
    "serializers",
    "filters",
    "selection",
    "urls",
    "admin",
    "new_project",
    "board",
    "answers",
)
PAGES += ("rest", "reports", "media")


def sources(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "migrations" not in path.parts:
                yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def imported(tree: ast.AST, top_level_only: bool = False) -> set[str]:
    nodes = tree.body if top_level_only else ast.walk(tree)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def uses(tree: ast.AST, *packages: str) -> set[str]:
    return {name for name in imported(tree) if name.split(".")[0] in packages}


def test_gallery_never_imports_labeling() -> None:
    assert not {path: uses(tree, "labeling") for path, tree in sources("gallery") if uses(tree, "labeling")}


def test_only_the_engine_and_its_training_know_torch() -> None:
    rooms = {
        path
        for path, tree in sources("clipsite", "gallery", "labeling")
        if uses(tree, "torch", "transformers")
    }
    assert rooms == TORCH_ROOMS


def test_torch_is_never_imported_at_the_top_of_a_file() -> None:
    for path, tree in sources("clipsite", "gallery", "labeling"):
        top = {name.split(".")[0] for name in imported(tree, top_level_only=True)}
        assert not top & {"torch", "transformers"}, path


def test_the_arithmetic_is_plain_numpy() -> None:
    rooms = dict(sources("labeling"))
    for room in ("scoring", "ranking", "cutoff"):
        assert not uses(rooms[f"labeling/{room}.py"], "django", "torch", "labeling", "gallery")
    for room in ("sampling", "unknowns"):
        assert uses(rooms[f"labeling/{room}.py"], "django", "torch", "labeling", "gallery") <= {
            "labeling.scoring",
            "labeling.scoring.Rows",
            "labeling.scoring.unit",
        }


def test_pages_and_api_know_neither_numpy_nor_pillow() -> None:
    for path, tree in sources("gallery", "labeling"):
        if Path(path).stem.endswith(PAGES):
            assert not uses(tree, "numpy", "PIL", "torch"), path


def test_the_environment_is_read_in_settings_alone() -> None:
    for path, tree in sources("gallery", "labeling", "clipsite"):
        words = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        words |= {name.rpartition(".")[2] for name in imported(tree)}
        if path not in ("clipsite/settings.py", "clipsite/wsgi.py"):
            assert not words & {"environ", "getenv"}, path


def test_the_engine_knows_no_rows() -> None:
    tree = dict(sources("labeling"))["labeling/clip.py"]
    assert not {name for name in imported(tree) if name.startswith("gallery") or name.endswith("models")}


def test_imports_lead_from_pages_to_doors_to_rows_and_never_back() -> None:
    """What the rooms of `labeling` may import of each other, the highest first."""
    found = {Path(path).stem: tree for path, tree in sources("labeling") if path.count("/") == 1}
    pages = [room for room in found if room.endswith(("views", "api", "admin", "new_project"))]
    storeys = [
        ["urls", "api_urls"],
        pages,
        ["saved_view_pages"],
        ["found", "probes"],
        [
            "batch_forms",
            "batch_serializers",
            "class_forms",
            "duplicate_forms",
            "unknown_forms",
            "import_forms",
            "export_forms",
        ],
        ["unknown_groups"],
        ["maps"],
        ["board", "forms", "tasks", "bulk", "history", "assignment_forms"],
        ["definitions"],
        ["serializers"],
        ["queue", "classes", "imports"],
        ["batches"],
        ["import_plan"],
        ["import_matching"],
        ["import_formats"],
        ["import_json", "import_tables"],
        ["import_xml"],
        ["import_found"],
        ["import_sources"],
        ["duplicates"],
        ["statistics", "assignments", "truth"],
        ["exports", "best_match", "figures", "review", "label_sets"],
        ["export_formats"],
        ["export_parquet", "export_helper_child"],
        ["export_helper"],
        ["export_pictures", "export_native", "export_json"],
        ["export_rows"],
        ["export_table"],
        ["saved_views"],
        ["ballots", "agreement"],
        ["votes", "leases"],
        ["filters"],
        ["selection"],
        ["query", "ordering", "keys", "paging"],
        ["search_keys", "search"],
        ["picks", "terms"],
        ["work", "near", "unknown_runs"],
        ["unknown_look"],
        ["worker"],
        ["cluster"],
        ["beat"],
        ["layouts"],
        ["runs"],
        ["looking"],
        ["vectors"],
        ["vector_sync"],
        ["embeddings"],
        ["hub"],
        ["clip"],
        ["sampling", "fingerprints", "projection", "unknowns", "holder", "ready_sets"],
        ["cutoff", "ranking", "vector_files", "splits", "export_names", "export_zip"],
        ["scoring"],
        ["models"],
    ]
    height = {room: -level for level, rooms in enumerate(storeys) for room in rooms}
    assert set(found) - {"__init__", "apps"} == set(height), "each room has its storey"
    upward = [
        (room, other)
        for room, tree in found.items()
        for other in height
        if f"labeling.{other}" in imported(tree) and height[other] > height[room]
    ]
    assert not upward


def outcome(code: str) -> int:
    """What a process that runs this code exits with."""
    env = {"DJANGO_SETTINGS_MODULE": "clipsite.settings", "DATA_DIR": str(settings.DATA_DIR), "PATH": ""}
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, timeout=60).returncode


def test_the_site_starts_without_torch() -> None:
    code = (
        "import django, sys; django.setup(); import clipsite.urls, clipsite.wsgi, labeling.tasks;"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert outcome(code) == 0


def test_a_web_server_has_all_code_before_its_first_request() -> None:
    code = (
        "import clipsite.wsgi, gc, sys; before = set(sys.modules); import clipsite.urls;"
        "sys.exit(before != set(sys.modules) or gc.get_freeze_count() < len(gc.get_objects()))"
    )
    assert outcome(code) == 0
