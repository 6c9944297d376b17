"""What the API's description says of every operation, beside what each view says of its own."""

import json
from pathlib import Path
from typing import Any

from gallery import problems


def summarize(result: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Beside each operation of the schema: the first sentence of what is said of it."""
    for path in result["paths"].values():
        for operation in path.values():
            if description := operation.get("description"):
                operation["summary"] = " ".join(description.split()).split(". ")[0].rstrip(".")
    return result


PROBLEMS = {
    "400": "The request is not as described; `errors` says of each field what is wrong.",
    "401": "No token or session, or one that is not valid.",
    "403": "Your role doesn't allow it.",
    "404": "Not there, or not yours to see.",
    "413": "The request is too large.",
    "415": "The body has another content type than described.",
    "429": "Too many requests: wait as many seconds as `Retry-After` says.",
    "503": "CLIP can't be used now.",
    "507": "There is no space for it.",
}


# Other answers are streams, made while they go out; so is all that may be a ZIP.
HAVE_ETAGS, STREAMED = {"application/json", "image/*"}, "application/zip"


def describe_unchanged(result: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Beside each GET of the schema that has an ETag: that it may answer 304."""
    for operations in result["paths"].values():
        responses = operations.get("get", {}).get("responses", {})
        kinds = set(responses.get("200", {}).get("content", {}))
        if kinds & HAVE_ETAGS and STREAMED not in kinds:
            responses["304"] = {"description": "You have it already: it is what `If-None-Match` names."}
    return result


KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "description": "A new UUID for each thing to be done. Sent again within 24 hours, the request isn't done "
    "again: the answer is the first one, with `Idempotent-Replayed: true`.",
}
KEYED = {
    "409": "The request with this `Idempotency-Key` is still at work; or its answer had a secret in it.",
    "422": "This `Idempotency-Key` came with another request before.",
}


def describe_keys(result: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Beside each operation that changes something: that it takes a key, and what comes of that."""
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            if method == "get" or not path.startswith("/api/v1/") or path == "/api/v1/token/":
                continue
            operation.setdefault("parameters", []).append(KEY)
            for status, description in KEYED.items():
                described = operation["responses"].setdefault(status, {"description": description})
                if described["description"] != description:
                    described["description"] += f" {description}"
    return result


RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "In seconds."}}


def describe_problems(result: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Beside each operation of the schema: the refusals that any of them may answer with.

    One that has a body of its own may still answer with a plain problem: the request comes before the work.
    """
    for path in result["paths"].values():
        for operation in path.values():
            for status, description in PROBLEMS.items():
                operation["responses"].setdefault(status, {"description": description})
            operation["responses"]["429"]["headers"] = RETRY_AFTER
            for status, answer in operation["responses"].items():
                if status >= "400":
                    answer["content"] = _refusal(answer.get("content", {}), result["components"]["schemas"])
    return result


def _refusal(own: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    problem = {"$ref": "#/components/schemas/Problem"}
    content, told = {}, [problem]
    for media_type, described in own.items():
        name = described["schema"]["$ref"].rpartition("/")[2]
        if "detail" not in schemas[name]["properties"]:
            content[media_type] = described
        elif described["schema"] != problem:
            told.insert(0, described["schema"])
    return content | {problems.MEDIA_TYPE: {"schema": {"anyOf": told} if len(told) > 1 else problem}}


JSON = "application/json"
# What docs/make_examples.py recorded: `{"METHOD path": {"status": 201, "request": …, "response": …}}`.
EXAMPLES = Path(__file__).with_name("api_examples.json")


def show_examples(result: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Beside the JSON that each operation takes and gives: one that was really sent, and what it got."""
    examples = json.loads(EXAMPLES.read_text())
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            example = examples.get(f"{method.upper()} {path}", {})
            answer = operation["responses"].get(str(example.get("status")), {})
            for side, described in (("request", operation.get("requestBody", {})), ("response", answer)):
                if side in example and JSON in described.get("content", {}):
                    described["content"][JSON]["example"] = example[side]
    return result
