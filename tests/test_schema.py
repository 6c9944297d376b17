"""The API's description: whole, valid, and shown without the network."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import pytest
import yaml
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from gallery import openapi
from gallery.models import Project


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict:
    path = tmp_path_factory.mktemp("schema") / "schema.yml"
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(path))
    return yaml.safe_load(Path(path).read_text())


def test_the_schema_is_valid_and_has_no_warning(schema: dict) -> None:
    assert schema["openapi"].startswith("3.")


def test_every_operation_is_described_once(schema: dict) -> None:
    operations = [each["operationId"] for path in schema["paths"].values() for each in path.values()]
    assert len(operations) == len(set(operations)) > 30
    assert "/image_text_similarity_best_match" in schema["paths"]


def test_errors_and_answers_that_are_files_are_described(schema: dict) -> None:
    export = schema["paths"]["/api/v1/label-sets/{id}/export/"]["get"]
    kinds = {"text/csv", "application/x-ndjson", "application/json", "application/xml"}
    kinds |= {"application/vnd.apache.parquet", "application/zip"}
    assert kinds == set(export["responses"]["200"]["content"])
    upload = schema["paths"]["/api/v1/projects/{slug}/images/"]["post"]
    assert {"201", "202", "400", "401", "403", "404", "413", "415", "507"} <= set(upload["responses"])
    assert list(upload["requestBody"]["content"]) == ["multipart/form-data"]
    refused = upload["responses"]["400"]["content"]["application/problem+json"]["schema"]["anyOf"]
    assert [each["$ref"].split("/")[-1] for each in refused] == ["AddedProblem", "Problem"]
    for path in schema["paths"].values():
        for operation in path.values():
            refusals = [answer for status, answer in operation["responses"].items() if status >= "400"]
            assert refusals and all("application/problem+json" in answer["content"] for answer in refusals)


def test_what_is_said_again_and_again_is_described(schema: dict) -> None:
    paths = {path: each for path, each in schema["paths"].items() if path.startswith("/api/v1/")}
    keyed = [
        (path, method)
        for path, operations in paths.items()
        for method, operation in operations.items()
        if "Idempotency-Key" in [each["name"] for each in operation.get("parameters", [])]
        and {"409", "422"} <= set(operation["responses"])
    ]
    unsafe = [(path, method) for path, each in paths.items() for method in each if method != "get"]
    assert set(keyed) == set(unsafe) - {("/api/v1/token/", "post"), ("/api/v1/token/", "delete")}
    unchanging = {path for path, each in paths.items() if "304" in each.get("get", {}).get("responses", {})}
    read = {path for path, each in paths.items() if "get" in each}
    assert unchanging == read - {"/api/v1/label-sets/{id}/export/"}


def test_a_name_that_may_be_missing_is_described_as_such(schema: dict) -> None:
    for kind, name in (("Image", "uploaded_by"), ("Invitation", "used_by"), ("InvitationMade", "used_by")):
        assert schema["components"]["schemas"][kind]["properties"][name]["nullable"]


def test_schema_and_docs_are_open_and_name_no_data(project: Project) -> None:
    Project.objects.filter(pk=project.pk).update(name="Quaggas", slug="quaggas")
    answer = Client().get("/api/v1/schema/")
    assert answer.status_code == 200
    assert "quagga" not in answer.content.decode().lower()
    assert Client().get("/api/v1/docs/").status_code == 200


def test_the_docs_come_from_this_site_alone(owner: User, login: Callable[[User | None], Client]) -> None:
    page = login(owner).get("/api/v1/docs/")
    html = page.content.decode()
    assert "//" not in html.replace("<!doctype html>", "").replace("http://www.w3.org/2000/svg", "")
    assert "<style" not in html
    assert "<script>" not in html
    script = login(owner).get("/api/v1/docs/?script=")
    assert script.headers["Content-Type"].startswith("application/javascript")
    assert "/api/v1/schema/" in script.content.decode()
    for directive in page.headers["Content-Security-Policy"].split(";"):
        assert "unsafe" not in directive


# Examples


def json_of(schema: dict) -> Iterator[tuple[str, list[dict]]]:
    """Each operation's JSON body, if it has one, and its successful answers in JSON: one of them is shown."""
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            answers = [each for status, each in operation["responses"].items() if status < "300"]
            for side, each in (("request", [operation.get("requestBody", {})]), ("response", answers)):
                described = [one["content"]["application/json"] for one in each if is_json(one)]
                if described:
                    yield f"{method.upper()} {path} {side}", described


def is_json(described: dict) -> bool:
    return "application/json" in described.get("content", {})


def strict(schema: object) -> object:
    """In the words of JSON Schema: what may be null. A field that isn't described breaks it."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: strict(value) for name, value in schema.items() if name != "nullable"}
    if isinstance(kept.get("properties"), dict) and kept.get("type") == "object":
        kept.setdefault("additionalProperties", False)
    return {"anyOf": [{"type": "null"}, kept]} if schema.get("nullable") is True else kept


def test_every_operation_has_an_example(schema: dict) -> None:
    shown = {name: [each for each in some if "example" in each] for name, some in json_of(schema)}
    assert [name for name, some in shown.items() if len(some) != 1] == []
    assert len(shown) > 100
    recorded = json.loads(openapi.EXAMPLES.read_text())
    operations = [f"{method.upper()} {path}" for path, each in schema["paths"].items() for method in each]
    assert set(recorded) == set(operations)


def test_every_example_is_as_its_own_schema_says(schema: dict) -> None:
    components = strict(schema["components"]["schemas"])
    wrong = []
    for name, some in json_of(schema):
        for each in some:
            whole = {"components": {"schemas": components}, "allOf": [strict(each["schema"])]}
            validator = jsonschema.Draft4Validator(whole)
            said = [error.message for error in validator.iter_errors(each.get("example"))]
            wrong += [(name, message[:300]) for message in said if "example" in each]
    assert wrong == []


def test_no_example_has_a_secret_in_it() -> None:
    """Nothing that opens a door is told, not even of a site that is gone."""
    text = openapi.EXAMPLES.read_text()
    named = re.findall(r'"(token|secret|password)": "([^"]*)"', text)
    assert {value for _, value in named} == {"the-token", "the-secret", "your-password"}
    assert re.findall(r'"https://[^"]*/invitations/([^/"]+)/"', text) == ["the-token"]
    # Pictures and their sums, and ids that are counted, open nothing.
    kept = re.sub(r'"(sha256|image_base64)": "[^"]*"|0{8}-?0{4}-?4000-?8000-?[0-9a-f]{12}', "", text)
    assert re.findall(r"\b(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{32,}", kept) == []
    assert "127.0.0.1" not in text
