"""Providers made of nothing but a schema, so that terraform plans and applies without a cloud or a download.

Terraform is handed them by ``TF_REATTACH_PROVIDERS``. They must not be the proof of what a real provider
checks in values: they know names, types, and what is needed, and what stays unknown until it is applied.

Source: https://developer.hashicorp.com/terraform/plugin/terraform-plugin-protocol (version 5)
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import msgpack

from tests.terraform.policy_documents import render

_NESTING = {"single": 1, "list": 2, "set": 3, "map": 4, "group": 5}
_UNKNOWN = msgpack.ExtType(0, b"\x00")
_NOTHING = b""
_SERVICE = "/tfplugin5.Provider/"


class StubProvider(grpc.GenericRpcHandler):  # type: ignore[misc]
    """One provider.

    Args:
        schema: of one provider, as ``terraform providers schema -json`` has it.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._resources = schema.get("resource_schemas", {})
        self._data_sources = schema.get("data_source_schemas", {})
        # An ephemeral answer is empty; every other method is one of these.
        self._methods: dict[str, Callable[[bytes], bytes]] = {
            "GetSchema": lambda request: self._schema,
            "PrepareProviderConfig": lambda request: _bytes(1, _field(request, 1)),
            "ValidateResourceTypeConfig": lambda request: _NOTHING,
            "ValidateDataSourceConfig": lambda request: _NOTHING,
            "Configure": lambda request: _NOTHING,
            "Stop": lambda request: _NOTHING,
            "UpgradeResourceState": self._upgrade,
            "ReadResource": lambda request: _bytes(1, _field(request, 2)),
            "ReadDataSource": self._read_data_source,
            "PlanResourceChange": self._plan,
            "ApplyResourceChange": self._apply,
        }
        self._schema = _bytes(1, _encode_schema(schema.get("provider", {})))
        for number, types in ((2, self._resources), (3, self._data_sources)):
            for name, entry in types.items():
                self._schema += _bytes(number, _bytes(1, name) + _bytes(2, _encode_schema(entry)))

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        method = self._methods.get(details.method.removeprefix(_SERVICE))
        return method and grpc.unary_unary_rpc_method_handler(lambda request, context: method(request))

    def _upgrade(self, request: bytes) -> bytes:
        state = json.loads(_field(_field(request, 3), 1))
        return _bytes(1, _bytes(1, msgpack.packb(state)))

    def _plan(self, request: bytes) -> bytes:
        """Leave unknown what the provider would find out; keep what an earlier apply found out."""
        name = _field(request, 1).decode()
        prior, proposed = _value(request, 2), _value(request, 3)
        if proposed is not None and prior is None:
            for attribute in _found_out(self._resources[name], proposed):
                proposed[attribute] = _UNKNOWN
        return _bytes(1, _packed(proposed))

    def _apply(self, request: bytes) -> bytes:
        name = _field(request, 1).decode()
        planned = _value(request, 3)
        if planned is not None:
            types = self._resources[name]["block"].get("attributes", {})
            for attribute, value in planned.items():
                if isinstance(value, msgpack.ExtType):
                    planned[attribute] = _made_up(name, attribute, types[attribute]["type"], planned)
        return _bytes(1, _packed(planned))

    def _read_data_source(self, request: bytes) -> bytes:
        name = _field(request, 1).decode()
        value = _value(request, 2)
        types = self._data_sources[name]["block"].get("attributes", {})
        for attribute in _found_out(self._data_sources[name], value):
            value[attribute] = _made_up(name, attribute, types[attribute]["type"], value)
        return _bytes(1, _packed(value))


@contextmanager
def serve(schema_paths: Sequence[Path]) -> Iterator[dict[str, str]]:
    """Serve the providers of some schema files; yield the environment that tells terraform of them."""
    servers = []
    reattach = {}
    with tempfile.TemporaryDirectory(prefix="presign-gateway-stub-") as directory:
        for path in schema_paths:
            for address, schema in json.loads(path.read_text())["provider_schemas"].items():
                server = grpc.server(futures.ThreadPoolExecutor(8))
                server.add_generic_rpc_handlers((StubProvider(schema),))
                socket = f"{directory}/{address.rpartition('/')[2]}"
                server.add_insecure_port(f"unix:{socket}")
                server.start()
                servers.append(server)
                reattach[address] = {
                    "Protocol": "grpc",
                    "ProtocolVersion": 5,
                    "Pid": os.getpid(),
                    "Test": True,
                    "Addr": {"Network": "unix", "String": socket},
                }
        try:
            yield {"TF_REATTACH_PROVIDERS": json.dumps(reattach)}
        finally:
            for server in servers:
                server.stop(grace=None).wait()


# What a cloud makes of what it was given, where somebody reads it. Other names are made up.


def _made_up(type_name: str, attribute: str, kind: Any, given: Mapping[str, Any]) -> Any:
    if (type_name, attribute) in _KNOWN:
        return _KNOWN[type_name, attribute](given)
    if isinstance(kind, list):
        return {} if kind[0] == "map" else []
    named = str(given.get("name") or given.get("bucket") or given.get("role_id") or type_name)
    return {"number": 0, "bool": False}.get(kind, f"{type_name}/{named}/{attribute}")


def _arn(service: str, resource: str, *, region: str = "", account: str = "111122223333") -> str:
    return f"arn:aws:{service}:{region}:{account}:{resource}"


_KNOWN: dict[tuple[str, str], Callable[[Mapping[str, Any]], Any]] = {
    ("aws_partition", "partition"): lambda given: "aws",
    ("aws_partition", "dns_suffix"): lambda given: "amazonaws.com",
    ("aws_region", "id"): lambda given: "eu-west-1",
    ("aws_iam_policy_document", "json"): lambda given: json.dumps(render(given)),
    ("aws_iam_role", "arn"): lambda given: _arn("iam", f"role/{given['name']}"),
    ("aws_iam_role", "id"): lambda given: given["name"],
    ("aws_s3_bucket", "arn"): lambda given: _arn("s3", given["bucket"], account=""),
    ("aws_s3_bucket", "id"): lambda given: given["bucket"],
    ("aws_kms_key", "arn"): lambda given: _arn("kms", "key/00000000-made-up", region="eu-west-1"),
    ("aws_sqs_queue", "arn"): lambda given: _arn("sqs", given["name"], region="eu-west-1"),
    ("aws_cloudfront_distribution", "arn"): lambda given: _arn("cloudfront", "distribution/E2EXAMPLE"),
    ("aws_cloudfront_distribution", "domain_name"): lambda given: "d111111abcdef8.cloudfront.net",
    ("aws_cloudfront_public_key", "id"): lambda given: "K2EXAMPLE",
    ("google_service_account", "email"): lambda given: (
        f"{given['account_id']}@{given['project']}.iam.gserviceaccount.com"
    ),
    ("google_service_account", "member"): lambda given: (
        f"serviceAccount:{given['account_id']}@{given['project']}.iam.gserviceaccount.com"
    ),
    ("google_service_account", "name"): lambda given: (
        f"projects/{given['project']}/serviceAccounts/{given['account_id']}@{given['project']}.iam.gserviceaccount.com"
    ),
    ("google_project_iam_custom_role", "id"): lambda given: f"projects/{given['project']}/roles/{given['role_id']}",
    ("google_project_iam_custom_role", "name"): lambda given: f"projects/{given['project']}/roles/{given['role_id']}",
    ("google_storage_project_service_account", "member"): lambda given: (
        "serviceAccount:service-1@gs-project-accounts.iam.gserviceaccount.com"
    ),
    ("azurerm_storage_account", "id"): lambda given: (
        f"/subscriptions/s/resourceGroups/{given['resource_group_name']}"
        f"/providers/Microsoft.Storage/storageAccounts/{given['name']}"
    ),
    ("azurerm_log_analytics_workspace", "id"): lambda given: (
        f"/subscriptions/s/resourceGroups/{given['resource_group_name']}"
        f"/providers/Microsoft.OperationalInsights/workspaces/{given['name']}"
    ),
    ("azurerm_storage_account", "primary_blob_endpoint"): lambda given: (
        f"https://{given['name']}.blob.core.windows.net/"
    ),
    ("azurerm_storage_container", "id"): lambda given: (
        f"{given['storage_account_id']}/blobServices/default/containers/{given['name']}"
    ),
    ("azurerm_user_assigned_identity", "principal_id"): lambda given: f"principal-of-{given['name']}",
    ("azurerm_user_assigned_identity", "client_id"): lambda given: f"client-of-{given['name']}",
    ("azurerm_role_definition", "role_definition_resource_id"): lambda given: (
        f"/providers/Microsoft.Authorization/roleDefinitions/{given['name']}"
    ),
}


def _found_out(schema: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    attributes = schema["block"].get("attributes", {})
    return [name for name, entry in attributes.items() if entry.get("computed") and given.get(name) is None]


# The wire. Messages are few and flat, so their fields are read and written here, without generated code.
# https://protobuf.dev/programming-guides/encoding/


def _encode_schema(schema: Mapping[str, Any]) -> bytes:
    return _number(1, schema.get("version", 0)) + _bytes(2, _encode_block(schema.get("block", {})))


def _encode_block(block: Mapping[str, Any]) -> bytes:
    encoded = b""
    for name, attribute in block.get("attributes", {}).items():
        flags = (
            (4, "required"),
            (5, "optional"),
            (6, "computed"),
            (7, "sensitive"),
        )
        encoded += _bytes(
            2,
            _bytes(1, name)
            + _bytes(2, json.dumps(attribute["type"], separators=(",", ":")))
            + b"".join(_number(number, attribute.get(flag, False)) for number, flag in flags),
        )
    for name, nested in block.get("block_types", {}).items():
        encoded += _bytes(
            3,
            _bytes(1, name)
            + _bytes(2, _encode_block(nested["block"]))
            + _number(3, _NESTING[nested["nesting_mode"]])
            + _number(4, nested.get("min_items", 0))
            + _number(5, nested.get("max_items", 0)),
        )
    return encoded


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _bytes(number: int, value: bytes | str) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(int(value)) if value else b""


def _field(message: bytes, wanted: int) -> bytes:
    """Return the first length-delimited field of a number; empty where there is none."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while at < len(message):
        tag = varint()
        if tag & 7 != 2:
            varint()
            continue
        length = varint()
        if tag >> 3 == wanted:
            return message[at : at + length]
        at += length
    return b""


def _value(message: bytes, number: int) -> Any:
    return msgpack.unpackb(_field(_field(message, number), 1), strict_map_key=False)


def _packed(value: Any) -> bytes:
    return _bytes(1, msgpack.packb(value))
