"""Schemathesis asks every address of the OpenAPI document what it allows and what it forbids."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.gateway.api.support import NOBODYS, SCOPES, file_of, token_of

SCHEMA = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", get_wsgi_application())
OPERATIONS = {operation.ok().label: operation.ok() for operation in SCHEMA.get_all_operations()}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    negative_data_rejection,
    unsupported_method,
    ignored_auth,
]


@pytest.mark.usefixtures("one_connection")
@pytest.mark.parametrize("label", OPERATIONS)
def test_every_answer_is_one_of_the_document(label: str, alice: Any) -> None:
    headers = {"Authorization": f"Bearer {token_of(alice, *SCOPES)}"}
    file = str(file_of(alice).pk)

    @given(st.one_of(OPERATIONS[label].as_strategy(mode) for mode in GenerationMode), st.booleans())
    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    def ask(case: Any, is_there: bool) -> None:
        if case.meta.generation.mode.is_positive:
            name_a_file(case, file if is_there else NOBODYS)
        case.call_and_validate(headers=headers, checks=CHECKS)

    ask()


def name_a_file(case: Any, file: str) -> None:
    """Or else hardly any request that fits the document would hold a reference."""
    if "file_id" in case.path_parameters:
        case.path_parameters["file_id"] = file
    if case.media_type == "application/json":
        for item in (case.body, *case.body.get("items", ())):
            if "file" in item:
                item["file"] = file
