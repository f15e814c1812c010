"""The operators' interface as a table: one row an endpoint, from which both the routes and their description come.

The description is OpenAPI 3.1, as the server gives it out at /openapi.json; `schemas` has what is sent and answered.
"""

from __future__ import annotations

from dataclasses import dataclass

from .parameters import IN_PATH, OF_DEVICES, QUERY
from .schema_parts import Schema, pattern, reference
from .schemas import schemas

VERSION_OF_API = "1"
BYTES = "application/octet-stream"
TEXT = "text/plain"
EVENTS = "text/event-stream"
JSON = "application/json"
PRODUCT = "/v1/products/{product}"
CHANNEL = PRODUCT + "/channels/{channel}"
ROLLOUT = CHANNEL + "/rollout"
RELEASE = PRODUCT + "/releases/{version}"
DEVICE = PRODUCT + "/devices/{device}"
DIGITS = "[0-9]{1,9}"
FILTERS = ("channel", "state", "version", "board", "tag", "answered", "text", "late", "no_room", "pinned", "since")


@dataclass(frozen=True)
class Endpoint:
    """One row: `handler` is its name in `app.HANDLERS`, `answer` a schema's name or a media type.

    `query` names parameters of QUERY, `required` those that have to be there; `body` is a schema's name, or a media
    type. Anybody may ask what is `open`.
    """

    method: str
    path: str
    handler: str
    summary: str
    answer: str
    query: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    body: str | None = None
    open: bool = False

    @property
    def takes_json(self) -> bool:
        """Whether a request has a JSON object in its body."""
        return self.body is not None and "/" not in self.body


ENDPOINTS = (
    Endpoint("GET", "/healthz", "health", "Say that the server answers and can read its store", "Health", open=True),
    Endpoint("GET", "/openapi.json", "describe", "Return this description", "Description", open=True),
    Endpoint("GET", "/metrics", "metrics", "Return the counters in Prometheus' text format", TEXT),
    Endpoint("GET", "/v1/products", "products", "List the products", "Products"),
    Endpoint("GET", PRODUCT, "product", "Return what a release is checked against", "Product", ("channel",)),
    Endpoint("GET", PRODUCT + "/releases", "releases", "List the releases, the latest first", "Releases"),
    Endpoint("PUT", RELEASE, "publish", "Publish the signed files of a release in a channel", "Published",
             ("channel", "percent", "waves", "max_failed", "patience", "created", "board", "commit", "dirty",
              "downgrade", "rehearsal", "raise_counter", "strand_devices"), ("created",), BYTES),
    Endpoint("PUT", RELEASE + "/notes", "set_notes", "Say what a release is for", "Notes", body="SetNotes"),
    Endpoint("GET", PRODUCT + "/report", "report", "Report what runs where, and how old it is", "Report"),
    Endpoint("PUT", PRODUCT + "/support", "set_support", "Say until when a product is supported", "Support",
             body="SetSupport"),
    Endpoint("DELETE", RELEASE, "delete_release", "Delete a release that no channel needs", "Deleted",
             ("even_if_run",)),
    Endpoint("GET", RELEASE + "/firmware", "firmware", "Return the bytes of a release, for one board", BYTES,
             ("board_id",)),
    Endpoint("GET", RELEASE + "/attachments/{kind}", "attachment", "Return an attachment of a release",
             "Attachment"),
    Endpoint("GET", PRODUCT + "/log", "log", "Return what publishers signed of each release, the first first", "Log",
             ("after", "limit")),
    Endpoint("POST", CHANNEL + "/promote", "promote", "Point a channel at another's release, or at a version", "Effect",
             body="Promotion"),
    Endpoint("POST", CHANNEL + "/rollback", "rollback", "Point a channel back at what all its devices had", "Effect",
             body="Consent"),
    Endpoint("POST", CHANNEL + "/percent", "percent", "Set to how many devices a release goes", "Effect",
             body="Percentage"),
    Endpoint("GET", ROLLOUT, "rollout", "Return where a rollout stands, and what is next", "Rollout"),
    Endpoint("POST", ROLLOUT + "/preview", "preview_rollout", "Return what the waves of a plan would be", "Preview",
             body="Waves"),
    Endpoint("POST", ROLLOUT + "/pause", "pause_rollout", "Give a release to nobody who has it not", "Effect",
             body="Nothing"),
    Endpoint("POST", ROLLOUT + "/resume", "resume_rollout", "Let a rollout go on that was paused or halted", "Effect",
             body="Nothing"),
    Endpoint("POST", ROLLOUT + "/halt", "halt_rollout", "Halt a rollout", "Effect", body="Nothing"),
    Endpoint("POST", ROLLOUT + "/approve", "approve_rollout", "Approve of the next wave", "Effect", body="Approval"),
    Endpoint("POST", ROLLOUT + "/grant", "grant_rollout", "Give a release to one device now", "Effect",
             body="NamedDevice"),
    Endpoint("GET", CHANNEL + "/certs", "certs", "Return which certificate archive a channel gives out", "Certs"),
    Endpoint("PUT", CHANNEL + "/certs", "publish_certs", "Give out a signed certificate archive", "PublishedCerts",
             ("rehearsal",), body=BYTES),
    Endpoint("GET", PRODUCT + "/devices", "list_devices", "List the devices seen, by name, a page at a time", "Devices",
             (*FILTERS, "after", "limit")),
    Endpoint("GET", PRODUCT + "/counts", "count_devices",
             "Return how many devices there are of each kind: each number is the total of a list with that filter",
             "Counts", ("channel",)),
    Endpoint("POST", PRODUCT + "/devices/label", "label_device",
             "Name, note, tag or pin a device, which may not have been seen yet", "LabelledDevice", body="DeviceLabel"),
    Endpoint("PUT", PRODUCT + "/labels", "import_labels",
             "Take names, tags and notes of devices from a CSV file, all or nothing", "Imported", body=BYTES),
    Endpoint("GET", PRODUCT + "/tag-rules", "tag_rules", "List the rules by which devices have tags", "TagRules"),
    Endpoint("POST", PRODUCT + "/tag-rules", "set_tag_rule", "Let all devices that fit have a tag", "TagRules",
             body="TagRule"),
    Endpoint("POST", PRODUCT + "/tag-rules/remove", "drop_tag_rule", "Remove the rule for a tag", "TagRules",
             body="NamedTag"),
    Endpoint("POST", PRODUCT + "/devices/forget", "forget_device", "Forget a device until it asks again",
             "ChangedDevice", body="NamedDevice"),
    Endpoint("POST", PRODUCT + "/devices/retry", "retry_device", "Give a stuck device its release again",
             "ChangedDevice", body="NamedDevice"),
    Endpoint("GET", DEVICE, "show_device", "Return what is known of a device and of its key", "ShownDevice"),
    Endpoint("PUT", DEVICE + "/key", "enrol_key", "Enrol the key by which a device proves its name", "EnrolledKey",
             body="ProofKey"),
    Endpoint("POST", DEVICE + "/accept", "accept_key", "Enrol the key that a device shows", "EnrolledKey",
             body="ShownKey"),
    Endpoint("GET", PRODUCT + "/enrolments", "enrolments", "List the devices that wait for their certificates",
             "Enrolments", ("after", "limit")),
    Endpoint("PUT", PRODUCT + "/enrolments/{device}", "answer_enrolment",
             "Give a device the certificate that it asks for", "Enrolled", body=BYTES),
    Endpoint("GET", "/v1/events", "events", "Say what changes, as long as the client listens", EVENTS, ("product",)),
    Endpoint("GET", "/v1/audit", "audit", "List who did what, the latest first", "Audit",
             ("product", "version", "by", "event", "since", "after", "limit")),
    Endpoint("GET", "/v1/alarms", "alarms", "List what calls for a person, and what did lately", "Alarms",
             ("product",)),
)  # fmt: skip


def description() -> Schema:
    """Return the OpenAPI 3.1 document of ENDPOINTS."""
    paths: dict[str, Schema] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "otaseal: the operators' interface of the update server",
            "version": VERSION_OF_API,
            "description": "Unknown query parameters and fields are refused: a misspelt option must not be a default.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "as otaseal token new prints it, or of an issuer that otaseal trust add names",
                },
                "certificate": {"type": "mutualTLS", "description": "as otaseal pki operator issues it"},
            },
        },
    }


def _operation(endpoint: Endpoint) -> Schema:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name, schema in IN_PATH.items()
        if f"{{{name}}}" in endpoint.path
    ]
    parameters += [
        {"name": name, "in": "query", "required": name in endpoint.required, "schema": _in_query(endpoint, name)}
        for name in endpoint.query
    ]
    if endpoint.handler == "publish":
        sizes = pattern(f"{DIGITS}(,{DIGITS})*", description="the size of each file, if there are several")
        attached = pattern(f"[a-z]+={DIGITS}(,[a-z]+={DIGITS})*", description="of attachments, which follow the files")
        headers = {"X-Otaseal-Parts": sizes, "X-Otaseal-Attachments": attached}
        parameters += [{"name": name, "in": "header", "required": False, "schema": headers[name]} for name in headers]
    operation: Schema = {
        "operationId": endpoint.handler,
        "summary": endpoint.summary,
        "parameters": parameters,
        "responses": _responses(endpoint),
        "security": [] if endpoint.open else [{"token": []}, {"certificate": []}],
    }
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(endpoint.body)}
    return operation


def _in_query(endpoint: Endpoint, name: str) -> Schema:
    if endpoint.handler not in ("list_devices", "count_devices"):
        return QUERY[name]
    return OF_DEVICES.get(name, QUERY[name])


_REFUSALS = {
    400: "a parameter or a field that cannot be",
    401: "no valid credentials",
    403: "credentials that are not for this product or channel",
    404: "no such product, release, channel or path",
    408: "the body stopped coming",
    409: "somebody was first, or the name is taken",
    411: "a body without Content-Length",
    413: "a body that is too large",
    415: "a body that is not of the type that is asked for",
    422: "a name, a file or a state that cannot be taken",
    429: "too many wrong credentials from this address, or too many streams of this caller",
    500: "the server has a fault",
    503: "the store is damaged, or its disk refuses",
}


def _responses(endpoint: Endpoint) -> Schema:
    statuses = {400, 500, 503}
    if not endpoint.open:
        statuses |= {401, 403, 429}
    if "{" in endpoint.path or "product" in endpoint.query:
        statuses |= {404, 422}
    if endpoint.method == "DELETE":
        statuses |= {409}
    if endpoint.body is not None:
        statuses |= {408, 409, 413, 415 if endpoint.takes_json else 411}
    answers: Schema = {"200": {"description": endpoint.summary, "content": _content(endpoint.answer)}}
    for status in sorted(statuses):
        answers[str(status)] = {"description": _REFUSALS[status], "content": _content("Error")}
    return answers


def _content(kind: str) -> Schema:
    if "/" not in kind:
        return {JSON: {"schema": reference(kind)}}
    return {kind: {"schema": {"type": "string", **({"format": "binary"} if kind == BYTES else {})}}}
