"""Nothing that can be used leaves in text, log records or error reports; everything else does."""

from __future__ import annotations

import html
import json
import logging
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, urlencode, urlsplit

import pytest
from django.http import QueryDict
from django.test import RequestFactory
from hypothesis import given, settings
from hypothesis import strategies as st
from pythonjsonlogger.json import JsonFormatter

from gateway.redaction import MARK, RedactionFilter, redact, redact_event
from providers import (
    Download,
    LocalProvider,
    S3Provider,
    SecretKey,
    SignedURL,
    StaticCredentials,
    Upload,
    UploadForm,
)

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
TTL = timedelta(seconds=300)
ACCESS_KEY_ID = "ASIAEXAMPLE"
SESSION_TOKEN = "FwoGZXIvYXdzEJr//+SecretSessionToken+of/the/role=="
CREDENTIALS = StaticCredentials(ACCESS_KEY_ID, "secret-access-key-of-the-tests", SESSION_TOKEN)
PROVIDERS = {
    "s3": S3Provider(bucket="my-bucket", region="eu-central-1", credentials=CREDENTIALS),
    "s3 by path": S3Provider(
        bucket="b.b", region="us-east-1", credentials=CREDENTIALS, endpoint_url="http://store.example:9000"
    ),
    "local": LocalProvider(base_url="/local/private/", secret_keys=[SecretKey(b"k" * 32)]),
    "local with a host": LocalProvider(base_url="https://h.example/local/p/", secret_keys=[SecretKey(b"k" * 32)]),
}
SECRET = "S3cr3t/Value+of-the.tests=="
API_TOKEN = "pgw_Zm9yIHRoZSB0ZXN0cyBvbmx5_-abcdefghijklmnop"


def encoded(text: str, times: int) -> str:
    for _ in range(times):
        text = quote(text, safe="")
    return text


# How a text that holds a link may be wrapped on its way into a log.
WRAPPINGS = {
    "as it is": str,
    "encoded once": lambda text: encoded(text, 1),
    "encoded twice": lambda text: encoded(text, 2),
    "json": json.dumps,
    "json in json": lambda text: json.dumps(json.dumps({"text": text})),
    "json with escaped ampersands": lambda text: json.dumps(text).replace("&", "\\u0026").replace("=", "\\u003d"),
    "html": html.escape,
    "repr": repr,
    "bytes": lambda text: repr(text.encode()),
    "nginx": lambda text: "".join(c if " " <= c != '"' else f"\\x{ord(c):02X}" for c in text),
}


def secrets_of(signed: SignedURL) -> list[str]:
    """Every spelling of what makes a link, or a form, usable."""
    parameters = dict(parse_qsl(urlsplit(signed.url).query)) | dict(signed.fields)
    values = [
        value
        for name, value in parameters.items()
        if name.lower() in ("x-amz-signature", "x-amz-security-token", "signature", "policy")
    ]
    assert values, "a link without a signature proves nothing"
    return [encoded(value, times) for value in values for times in range(4)]


keys = st.from_regex(r"[a-zA-Z0-9 é%&+='_-]{1,20}", fullmatch=True).filter(lambda key: key == key.strip())
operations = st.one_of(
    st.builds(
        Download,
        keys,
        filename=st.none() | st.text(max_size=20),
        content_type=st.none() | st.just("text/plain; charset=utf-8"),
        link_id=st.none() | st.from_regex(r"lnk_[a-f0-9]{8}", fullmatch=True),
    ),
    st.builds(Upload, keys, content_type=st.just("image/png"), size_bytes=st.integers(0, 9)),
)
# Pieces that mean something to the redactor, so that a link stands in the middle of what it looks for.
hostile = st.lists(
    st.one_of(
        st.text(max_size=6),
        st.sampled_from(list("%&=:;,\"'`\\{}[]()<> \n\r\t")),
        st.sampled_from(["sig", "token", "signature", "sig=", 'token="', "=> '", "b'", "policy=eyJ", "policy"]),
        st.sampled_from(["Cookie: ", "Authorization: ", "bearer ", "pgw_", "://a:", "@", "***"]),
        st.sampled_from(["%3D", "%253d", "%2", "\\u0026", "\\u00", "\\x", '\\"', "&quot;", "&amp;", "&#x"]),
        st.sampled_from(['value="', '" name="sig"']),
    ),
    max_size=8,
).map("".join)


@pytest.mark.parametrize("wrapping", WRAPPINGS.values(), ids=WRAPPINGS.keys())
@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS.keys())
@settings(max_examples=25, deadline=None)
@given(operation=operations, before=hostile, after=hostile)
def test_a_link_cannot_be_used_after_redaction_whatever_stands_around_it(
    provider: Any, wrapping: Any, operation: Any, before: str, after: str
) -> None:
    signed = provider.sign(operation, ttl=TTL, now=NOW)
    clean = redact(wrapping(before + signed.url + after))
    for secret in secrets_of(signed):
        assert secret not in clean
        assert secret[:20] not in clean


@pytest.mark.parametrize("wrapping", WRAPPINGS.values(), ids=WRAPPINGS.keys())
@settings(max_examples=50, deadline=None)
@given(before=hostile, after=hostile)
def test_a_link_within_a_link_cannot_be_used_either(wrapping: Any, before: str, after: str) -> None:
    signed = PROVIDERS["s3"].sign(Download("a.txt"), ttl=TTL, now=NOW)
    outer = "https://app.example/log-in?" + urlencode({"next": signed.url, "x": "1"})
    clean = redact(wrapping(before + outer + after))
    assert not [secret for secret in secrets_of(signed) if secret in clean]


FORMATS = {
    "json": lambda fields: json.dumps(dict(fields)),
    "indented json": lambda fields: json.dumps(dict(fields), indent=2),
    "repr": lambda fields: repr(dict(fields)),
    "repr of pairs": lambda fields: repr(list(fields.items())),
    "repr of bytes": lambda fields: repr([(name.encode(), value.encode()) for name, value in fields.items()]),
    "query": lambda fields: urlencode(dict(fields)),
    "parsed query": lambda fields: repr(parse_qs(urlencode(dict(fields)))),
    "QueryDict": lambda fields: repr(QueryDict(urlencode(dict(fields)))),
    "headers": lambda fields: "".join(f"{name}: {value}\r\n" for name, value in fields.items()),
    "html form": lambda fields: "".join(f'<input name="{n}" value="{html.escape(v)}">' for n, v in fields.items()),
    "html form, value first": lambda fields: "".join(
        f'<input value="{html.escape(v)}" name="{n}">' for n, v in fields.items()
    ),
    "form data": lambda fields: "".join(
        f'--b\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items()
    ),
    "upper case": lambda fields: json.dumps({name.upper(): value for name, value in fields.items()}),
    "underscores": lambda fields: repr({name.replace("-", "_"): value for name, value in fields.items()}),
}


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS.keys())
def test_an_upload_form_cannot_be_sent_after_redaction(write: Any) -> None:
    form = UploadForm("a.txt", content_type="text/plain", min_bytes=1, max_bytes=9)
    signed = PROVIDERS["s3"].sign(form, ttl=TTL, now=NOW)
    clean = redact(write(signed.fields))
    assert not [secret for secret in secrets_of(signed) if secret in clean]
    assert "a.txt" in clean
    assert ACCESS_KEY_ID in clean


HIDDEN = {
    "SigV4": f"https://b/k?X-Amz-Signature={SECRET}&x=1",
    "session token": f"?X-Amz-Security-Token={SECRET}",
    "GCS": f"https://b/k?X-Goog-Algorithm=a&X-Goog-Signature={SECRET}",
    "resumable session": f"/upload/storage/v1/b/b/o?uploadType=resumable&upload_id={SECRET}",
    "Azure SAS": f"https://a/c/b?sp=r&sig={SECRET}",
    "SigV2": f"?AWSAccessKeyId=AKID&Expires=1&Signature={SECRET}",
    "CloudFront": f"?Policy=x&Signature={SECRET}&Key-Pair-Id=K",
    "CloudFront cookie": f"CloudFront-Signature={SECRET}",
    "local": f"/local/private/k?expires=1&signature={SECRET}",
    "lower case": f"?x-amz-signature={SECRET}",
    "underscores": f"x_amz_signature={SECRET}",
    "keyword argument": f"sign(signature='{SECRET}')",
    "letters of the name encoded": f"?X%2DAmz%2DSign%61ture={SECRET}",
    "name encoded twice": f"?X%252DAmz%252DSignature={SECRET}",
    "equals sign encoded": f"?sig%3D{SECRET}",
    "question mark encoded": f"https:%2F%2Fh%3Fsig={SECRET}",
    "colon": f"Signature: {SECRET}",
    "arrow": f"'sig' => '{SECRET}'",
    "bearer": f"Authorization: Bearer {SECRET}",
    "bearer of another scheme": f"Authorization: Something {SECRET} else",
    "bearer without its header": f"got Bearer {SECRET}",
    "basic": f"authorization: Basic {SECRET}",
    "SigV4 header": "Authorization: AWS4-HMAC-SHA256 Credential=A/20260304/eu/s3/aws4_request, "
    f"SignedHeaders=host, Signature={SECRET}",
    "SigV2 header": f"Authorization: AWS AKID:{SECRET}",
    "WSGI": f"{{'HTTP_AUTHORIZATION': 'Bearer {SECRET}'}}",
    "ASGI": f"[(b'authorization', b'Bearer {SECRET}')]",
    "curl": f"curl -H 'Authorization: Bearer {SECRET}' https://h/",
    "API token": f"the token was pgw_{SECRET.partition('/')[0]}",
    "session cookie": f"sessionid={SECRET}; path=/",
    "session cookie of a prefix": f"__Host-sessionid={SECRET}",
    "CSRF cookie": f"csrftoken={SECRET}",
    "CSRF field": f"csrfmiddlewaretoken={SECRET}",
    "cookies of any name": f'Cookie: a=1; messages="W1s"; mine={SECRET}',
    "cookies in a dict": f"{{'Cookie': 'a=\"1\"; mine={SECRET}', 'Host': 'h'}}",
    "Set-Cookie": f"Set-Cookie: mine={SECRET}; HttpOnly",
    "password": f"password={SECRET}",
    "password of many words": f'{{"password": "correct {SECRET} horse"}}',
    "password with a quote": f'{{"password": "a\\"{SECRET}"}}',
    "password in a URL": "redis://user:S3cr3t@cache:6379/0",
    "account key": f"AccountName=a;AccountKey={SECRET};EndpointSuffix=e",
    "secret access key": f'{{"SecretAccessKey": "{SECRET}"}}',
    "private key of Google": f'{{"private_key_id": "a", "private_key": "-----BEGIN PRIVATE KEY-----\\n{SECRET}\\n"}}',
    "private key of Google within an option": f"{{'service_account_key': {{'type': 'a', 'private_key': '{SECRET}'}}}}",
    "private key over many lines": f"-----BEGIN RSA PRIVATE KEY-----\nMII\n{SECRET}\n-----END RSA PRIVATE KEY-----",
    "hmac_secret option": f"'hmac_secret': '{SECRET}'",
    "secret_key option": f"'secret_key': '{SECRET}'",
}


@pytest.mark.parametrize("text", HIDDEN.values(), ids=HIDDEN.keys())
def test_hides(text: str) -> None:
    clean = redact(text)
    assert "S3cr3t" not in clean
    assert MARK in clean
    assert redact(clean) == clean


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
@pytest.mark.parametrize("text", HIDDEN.values(), ids=HIDDEN.keys())
def test_hides_in_text_that_is_encoded(text: str, times: int) -> None:
    assert "S3cr3t" not in redact(encoded(text, times))


UNCHANGED = {
    "empty": "",
    "plain": "refused Download of hostapp.Document.file:3 to user:7: Owner('owner') denies",
    "credential": "X-Amz-Credential=AKIDEXAMPLE%2F20260304%2Feu-central-1%2Fs3%2Faws4_request&X-Amz-Expires=300",
    "GCS credential": "X-Goog-Credential=a%40b.iam.gserviceaccount.com%2F20260304&X-Goog-SignedHeaders=host",
    "SigV2 key id": "AWSAccessKeyId=AKIDEXAMPLE&Expires=1",
    "policy by name": "policy=Owner('owner') policy: ModelPermission('view')",
    "prose": "a presigned URL is a bearer credential; the tokens of a signature_version are no secret",
    "percent": "100%25 of 50%",
    "key": "uploads/2026/11/abcdefghijklmnopqrstuvwxyz/design.pdf",
    "nothing to hide": "/k?signature=&sig",
    "upload of ours": "/uploads?upload_id=upl_0123456789abcdef0123456789abcdef",
    "link id": "x-gateway-link=lnk_0123456789abcdef",
    "address": "https://user@host:8000/path?a=b@c",
}


@pytest.mark.parametrize("text", UNCHANGED.values(), ids=UNCHANGED.keys())
def test_leaves_the_rest_alone(text: str) -> None:
    assert redact(text) is text


def test_only_the_values_are_hidden() -> None:
    text = "GET /k?X-Amz-Expires=300&X-Amz-Signature=abc&x-id=GetObject 200; next=%3Fsig%3Dabc%26x%3D1"
    assert redact(text) == (
        "GET /k?X-Amz-Expires=300&X-Amz-Signature=***&x-id=GetObject 200; next=%3Fsig%3D***%26x%3D1"
    )


@settings(max_examples=500, deadline=None)
@given(st.lists(hostile, max_size=4).map("abc".join))
def test_redacting_twice_is_redacting_once(text: str) -> None:
    clean = redact(text)
    assert redact(clean) == clean


LONG = {
    "prose": "lorem ipsum dolor sit ",
    "names": "signature",
    "names and equals signs": "signature=",
    "open quotes": 'token="',
    "open quotes apart": "token ' ",
    "blanks": "sig" + " " * 997,
    "escapes": "%25",
    "deep escapes": "X-Amz-Signature=%252525",
    "backslashes": "\\",
    "quoted backslashes": 'authorization="\\',
    "headers without an end": "cookie: ",
    "policies": "policy=ey",
    "schemes": "bearer ",
    "addresses": "://a:",
    "form fields": 'value="a" name="',
    "entities": "&quot;",
}


@pytest.mark.parametrize("piece", LONG.values(), ids=LONG.keys())
def test_the_time_is_linear_in_the_length(piece: str) -> None:
    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        times = []
        for _ in range(3):
            began = time.process_time()
            redact(text)
            times.append(time.process_time() - began)
        return min(times)

    # Sixteen times the text; were the time quadratic, it would be 256 times the time.
    assert seconds(2**20) < 64 * max(seconds(2**16), 0.002)


def record_of(message: Any, *args: Any, **more: Any) -> logging.LogRecord:
    record = logging.LogRecord("a.logger", logging.INFO, __file__, 1, message, args, more.pop("exc_info", None))
    vars(record).update(more)
    return record


URL = f"https://b/k?X-Amz-Signature={SECRET}&x=1"


class Shown:
    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


MESSAGES = {
    "message": ((f"got {URL}",), "got https://b/k?X-Amz-Signature=***&x=1"),
    "message with percent signs": ((f"50% of {URL}",), "50% of https://b/k?X-Amz-Signature=***&x=1"),
    "argument": (("got %s", URL), "got https://b/k?X-Amz-Signature=***&x=1"),
    "argument among others": (("%d %s %5.1f", 3, URL, 0.25), "3 https://b/k?X-Amz-Signature=***&x=1   0.2"),
    "argument quoted": (("got %r", URL), "got 'https://b/k?X-Amz-Signature=***&x=1'"),
    "argument shown by an object": (("got %s", Shown(URL)), "got https://b/k?X-Amz-Signature=***&x=1"),
    "argument within a list": (("got %s", [URL]), "got ['https://b/k?X-Amz-Signature=***&x=1']"),
    "named arguments": (("%(status)d %(url)s", {"status": 200, "url": URL}), f"200 {redact(URL)}"),
    "name in the message, value in an argument": (("signature=%s", SECRET), "signature=***"),
    "message object": ((Shown(URL),), "https://b/k?X-Amz-Signature=***&x=1"),
    "too few arguments": (("%s %s", URL), f"'%s %s' ({redact(URL)!r},)"),
    "nothing": (("%s of %s", "token", "alice"), "token of alice"),
}


@pytest.mark.parametrize(("logged", "expected"), MESSAGES.values(), ids=MESSAGES.keys())
def test_the_filter_redacts_what_a_record_says(logged: tuple[Any, ...], expected: str) -> None:
    record = record_of(*logged)
    assert RedactionFilter().filter(record) is True
    assert record.getMessage() == expected
    assert "S3cr3t" not in repr((record.msg, record.args))
    RedactionFilter().filter(record)
    assert record.getMessage() == expected


def test_arguments_stay_arguments() -> None:
    record = record_of("%s answered %d", URL, 200)
    RedactionFilter().filter(record)
    assert (record.msg, record.args) == ("%s answered %d", (redact(URL), 200))


def test_arguments_that_the_message_does_not_show_are_redacted_too() -> None:
    record = record_of("%(status)d", {"status": 200, "url": URL, "authorization": f"Bearer {SECRET}"})
    RedactionFilter().filter(record)
    assert record.args == {"status": 200, "url": redact(URL), "authorization": MARK}


def test_a_record_without_secrets_stays_as_it_is() -> None:
    thing = Shown("thing")
    record = record_of("%s %s", thing, ["a"], request=thing, status_code=404, names=("a", "b"))
    before = dict(vars(record))
    RedactionFilter().filter(record)
    assert vars(record) == before
    assert record.args is not None
    assert record.args[0] is thing  # type: ignore[index]


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("this object cannot be shown")

    __repr__ = __str__


def test_a_record_that_cannot_be_formatted_is_not_lost_and_tells_no_secret() -> None:
    record = record_of("%s %d", URL, Broken())
    assert RedactionFilter().filter(record) is True
    assert record.getMessage() == "'%s %d' <tuple>"


def raised(message: str) -> Any:
    try:
        try:
            raise ValueError(message)
        except ValueError as error:
            raise RuntimeError("the outer one") from error
    except RuntimeError:
        return sys.exc_info()


def test_the_text_of_a_traceback_is_redacted_and_the_exception_stays() -> None:
    exc_info = raised(f"cannot get {URL}")
    record = record_of("failed", exc_info=exc_info)
    RedactionFilter().filter(record)
    written = logging.Formatter().format(record)
    assert "S3cr3t" not in written
    assert "ValueError: cannot get https://b/k?X-Amz-Signature=***&x=1" in written
    assert "RuntimeError: the outer one" in written
    assert record.exc_info is exc_info


def test_a_traceback_without_secrets_is_left_to_the_formatter() -> None:
    record = record_of("failed", exc_info=raised("nothing to see"))
    RedactionFilter().filter(record)
    assert record.exc_text is None


@pytest.mark.parametrize("name", ["exc_text", "stack_info"])
def test_texts_that_are_already_made_are_redacted(name: str) -> None:
    record = record_of("failed", **{name: f"Traceback: {URL}"})
    RedactionFilter().filter(record)
    assert getattr(record, name) == f"Traceback: {redact(URL)}"


@pytest.mark.parametrize("exc_info", [(None, None, None), True, None], ids=["empty", "a flag", "none"])
def test_odd_exc_info_breaks_nothing(exc_info: Any) -> None:
    assert RedactionFilter().filter(record_of("failed", exc_info=exc_info)) is True


def test_a_request_beside_a_refusal_shows_its_address_without_the_signature() -> None:
    """Formatters of all attributes, such as those for JSON, write the text of Django's extra."""
    request = RequestFactory().put(f"/relay/cloud/k?expires=1&signature={SECRET}")
    record = record_of("Not Found: %s", "/relay/cloud/k", request=request, status_code=404)
    RedactionFilter().filter(record)
    told = JsonFormatter().format(record)
    assert "/relay/cloud/k?expires=1&signature=***" in told
    assert SECRET not in told + repr(record.request) + str(record.request) + f"{record.request}"  # type: ignore[attr-defined]
    # What handlers look at, who mail errors for one, is there.
    assert record.request.META is request.META  # type: ignore[attr-defined]
    assert record.request.get_full_path() == request.get_full_path()  # type: ignore[attr-defined]
    plain = RequestFactory().get("/f/1")
    record = record_of("Not Found", request=plain)
    RedactionFilter().filter(record)
    assert record.request is plain  # type: ignore[attr-defined]


def test_extra_attributes_are_redacted() -> None:
    record = record_of("got it", url=URL, session_token=SECRET, nested={"headers": [["Cookie", SECRET]]})
    RedactionFilter().filter(record)
    assert vars(record)["url"] == redact(URL)
    assert vars(record)["session_token"] == MARK
    assert vars(record)["nested"] == {"headers": [["Cookie", MARK]]}


def test_a_handler_with_the_filter_writes_no_secret() -> None:
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactionFilter())
    logger = logging.getLogger("tests.gateway.redaction")
    logger.addHandler(handler)
    try:
        raise ValueError(URL)
    except ValueError:
        logger.exception("could not get %s", URL, extra={"url": URL}, stack_info=True)
    finally:
        logger.removeHandler(handler)
    assert stream.getvalue().count("X-Amz-Signature=***") >= 2
    assert "S3cr3t" not in stream.getvalue()


EVENT: dict[str, Any] = {
    "event_id": "4f1d",
    "level": "error",
    "logentry": {"message": "got %s", "params": [URL]},
    "request": {
        "url": "https://h/k",
        "query_string": [["X-Amz-Signature", SECRET], ["x", "1"]],
        "cookies": {"mine": SECRET, "other": ["S3cr3t"]},
        "headers": {"Host": "h", "Authorization": f"Bearer {SECRET}", "X-Api-Key": SECRET},
        "env": {"REMOTE_ADDR": "192.0.2.1"},
        "data": {"policy": "eyJleHBpcmF0aW9uIjogIlMzY3IzdCJ9", "key": "a.txt", "sig[]": SECRET},
    },
    "exception": {
        "values": [
            {
                "type": "ValueError",
                "value": f"cannot get {URL}",
                "stacktrace": {
                    "frames": [
                        {
                            "lineno": 7,
                            "vars": {
                                "url": repr(URL),
                                "signature": repr(SECRET),
                                "policy": "Owner('owner')",
                                "raw": URL.encode(),
                                "X%2DAmz%2DSignature": SECRET,
                                URL: "a link as a name",
                                "otp_token": 123456,
                                "no_token": None,
                            },
                        }
                    ]
                },
            }
        ]
    },
    "breadcrumbs": {"values": ({"message": f"sent pgw_{SECRET[:6]}", "data": {"retries": 3}},)},
}


def test_an_error_report_is_redacted_by_name_and_by_look() -> None:
    before = json.dumps(EVENT, default=repr)
    clean = redact_event(EVENT, {"exc_info": None})
    assert json.dumps(EVENT, default=repr) == before, "the caller's event was changed"
    assert "S3cr3t" not in repr(clean)
    assert "IlMzY3IzdCJ9" not in repr(clean)
    assert clean["request"] == {
        "url": "https://h/k",
        "query_string": [["X-Amz-Signature", MARK], ["x", "1"]],
        "cookies": {"mine": MARK, "other": [MARK]},
        "headers": {"Host": "h", "Authorization": MARK, "X-Api-Key": MARK},
        "env": {"REMOTE_ADDR": "192.0.2.1"},
        "data": {"policy": MARK, "key": "a.txt", "sig[]": MARK},
    }
    variables = clean["exception"]["values"][0]["stacktrace"]["frames"][0]["vars"]
    assert variables["policy"] == "Owner('owner')"
    assert variables["raw"] == redact(URL).encode()
    assert variables["otp_token"] == MARK
    assert variables["no_token"] is None
    assert variables[redact(URL)] == "a link as a name"
    assert clean["breadcrumbs"]["values"][0] == {"message": "sent pgw_***", "data": {"retries": 3}}
    assert redact_event(clean) == clean


def test_an_event_without_secrets_is_given_back_as_it_is() -> None:
    event = {"message": "hello", "tags": [["a", "b"]], "level": "info"}
    assert redact_event(event) is event


def test_an_event_that_holds_itself_ends() -> None:
    event: dict[str, Any] = {"url": URL}
    event["again"] = [event, event]
    event["token"] = event
    clean = redact_event(event)
    assert clean["url"] == redact(URL)
    assert "S3cr3t" not in repr(clean)


def test_an_event_nested_too_deeply_is_cut() -> None:
    event: Any = {"url": URL}
    for _ in range(5000):
        event = {"inner": event}
    assert "S3cr3t" not in repr(redact_event(event))


def test_a_form_repeated_in_a_dict_of_lists_keeps_all_its_values() -> None:
    form = QueryDict("x=1&x=2&sig=a&sig=b")
    assert redact_event({"data": form})["data"] == {"x": ["1", "2"], "sig": [MARK, MARK]}


def test_it_can_be_imported_before_django() -> None:
    probe = "import sys, gateway.redaction; sys.exit(any(name.split('.')[0] == 'django' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
