"""The clients that people have, unchanged, in a real Chromium, on a page of another origin than the store's."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from azure.storage.blob import CorsRule
from django.contrib.auth import get_user_model
from django.core.files.storage import storages

from gateway import uploads
from gateway.models import File, UploadSession
from tests.gateway.azure_stores import AzureStore
from tests.gateway.browsing import Chromium, Site, content_of, package
from tests.gateway.gcs_stores import GCSStore
from tests.gateway.link_stores import S3Store, Store
from tests.gateway.opened_stores import open_store
from tests.gateway.site import session_of
from tests.gateway.uploads.conftest import principal_of

MIB = 2**20
CSRF = "c" * 32
SMALL, LARGE = 70_000, 11 * MIB
UPPY = {version: f"uppy-{version}/dist/uppy.min.js" for version in (4, 5, 6)}
ACTIVE_STORAGE = "@rails/activestorage/app/assets/javascripts/activestorage.js"
# As docs/google-cloud.md has them.
GCS_HEADERS = ("Content-Type", "x-goog-content-length-range", "x-goog-if-generation-match", "Content-MD5", "ETag")
DOCUMENTATION = Path(__file__).parents[3] / "docs/uploads.md"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    # A short name: the browser makes a socket in it, whose path may have 107 bytes.
    with (
        tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as directory,
        Chromium(Path(directory)) as browser,
    ):
        yield browser


@pytest.fixture
def alice(file_database: Any) -> Any:
    # In a file, since the site answers in threads of its own.
    return get_user_model().objects.create_user("alice")


@pytest.fixture
def site(settings: Any, chromium: Chromium, alice: Any) -> Iterator[Site]:
    with Site() as site:
        settings.GATEWAY = settings.GATEWAY | {"PUBLIC_URL": site.url}
        yield site


@pytest.fixture
def store(request: pytest.FixtureRequest, site: Site, settings: Any, tmp_path: Path) -> Iterator[Store | None]:
    """A store that lets pages of the site's origin in; None is the gateway's own directory."""
    name = request.param
    if name == "local":
        yield None
        return
    with open_store(name, request, tmp_path) as store:
        if isinstance(store, S3Store):
            rule = {
                "AllowedOrigins": [site.url], "AllowedMethods": ["PUT"], "AllowedHeaders": ["*"],
                "ExposeHeaders": ["ETag"],
            }  # fmt: skip
            store.client.put_bucket_cors(Bucket=store.bucket, CORSConfiguration={"CORSRules": [rule]})
        if isinstance(store, AzureStore):
            rules = [CorsRule([site.url], ["PUT"], allowed_headers=["*"], exposed_headers=["ETag"])]
            store.client.set_service_properties(cors=rules)
        if isinstance(store, GCSStore):
            store.let_in(site.url, *GCS_HEADERS)
            store.options |= {"resumable_uploads": True}
        settings.STORAGES = settings.STORAGES | {name: {"BACKEND": store.backend, "OPTIONS": store.options}}
        settings.GATEWAY = settings.GATEWAY | {"FILE_STORAGE": name}
        yield store


def on(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("store", names, indirect=True)


def cookies_of(user: Any) -> list[str]:
    return [session_of(user), f"csrftoken={CSRF}"]


def function_of_documentation(name: str) -> str:
    (function,) = re.findall(rf"```js\n(async function {name}\(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    return str(function)


def check_arrived(store: Store | None, site: Site, size: int, *, relayed: bool = False) -> None:
    """Hold what was made ready to what the page had, and the gateway to not having seen it where none was relayed."""
    file = File.objects.get()
    assert file.size_bytes == size
    with storages[file.storage_alias].open(file.key) as stored:
        assert stored.read() == content_of(size)
    if store is not None and not relayed:
        assert 0 < site.received_bytes < 10_000, "bytes of the file came to the gateway"
    else:
        assert site.received_bytes >= size, "the counter counts"


@on("local", "ceph", "azure", "gcs")
def test_the_page_of_the_documentation(store: Store | None, site: Site, chromium: Chromium, alice: Any) -> None:
    function = function_of_documentation("upload")
    steps = f"""run(async () => {{
      const progress = document.querySelector("progress");
      return [await upload(file({SMALL}), "{CSRF}", progress), progress.value];
    }});"""
    made, progress = site.visit(
        chromium, script=function + steps, body="<progress value=0></progress>", cookies=cookies_of(alice)
    )
    assert (made["file"], progress) == (str(File.objects.get().pk), 1)
    check_arrived(store, site, SMALL)


class TestResumable:
    """The page of the documentation that sends pieces to a session of Cloud Storage."""

    # What is put where, as the page sees it; ``left`` says at which piece it is left.
    WATCHED = """
      const pieces = [], reallyFetch = window.fetch;
      window.fetch = (url, options = {}) => {
        if (options.method === "PUT") pieces.push(options.headers["Content-Range"]);
        return options.method === "PUT" && pieces.length === left
          ? (report({result: url}), new Promise(() => {})) : reallyFetch(url, options);
      };"""
    STEP = 8 * MIB

    def visit(self, site: Site, chromium: Chromium, alice: Any, *, left: int = 0) -> Any:
        script = f"""const left = {left}; {self.WATCHED} {function_of_documentation("uploadResumably")}
          run(async () => [await uploadResumably(file({LARGE}), "{CSRF}", "my-key"), pieces]);"""
        return site.visit(chromium, script=script, cookies=cookies_of(alice))

    @on("gcs")
    def test_all_of_it(self, store: Store, site: Site, chromium: Chromium, alice: Any) -> None:
        made, pieces = self.visit(site, chromium, alice)
        assert made["file"] == str(File.objects.get().pk)
        assert pieces == [f"bytes 0-{self.STEP - 1}/{LARGE}", f"bytes {self.STEP}-{LARGE - 1}/{LARGE}"]
        check_arrived(store, site, LARGE)

    @on("gcs")
    def test_it_goes_on_after_the_page_was_left(self, store: Store, site: Site, chromium: Chromium, alice: Any) -> None:
        self.visit(site, chromium, alice, left=2)
        assert not File.objects.exists()
        made, pieces = self.visit(site, chromium, alice)
        assert pieces == [f"bytes {self.STEP}-{LARGE - 1}/{LARGE}"], "what had gone did not go again"
        assert UploadSession.objects.count() == 1
        check_arrived(store, site, LARGE)
        # And once more, when all is done.
        again, pieces = self.visit(site, chromium, alice)
        assert (again, pieces) == (made, [])

    @on("gcs")
    def test_an_answer_that_is_lost_is_asked_for_and_a_store_that_is_gone_is_told(
        self, store: Store, site: Site, chromium: Chromium, alice: Any
    ) -> None:
        script = f"""const left = 0; {self.WATCHED} {function_of_documentation("uploadResumably")}
          const watched = window.fetch;
          let lost = 0;
          const losing = (arrives) => async (url, options = {{}}) => {{
            if (options.method !== "PUT") return watched(url, options);
            lost += 1;
            if (arrives) await watched(url, options);
            throw new TypeError("Failed to fetch");
          }};
          run(async () => {{
            window.fetch = losing(false);
            const refused = await uploadResumably(file({LARGE}), "{CSRF}", "k").catch((error) => error.message);
            window.fetch = losing(true);
            return [refused, (await uploadResumably(file({LARGE}), "{CSRF}", "k")).file, lost];
          }});"""
        refused, made, lost = site.visit(chromium, script=script, cookies=cookies_of(alice))
        assert (refused, lost) == ("the store takes nothing after byte 0", 3)
        assert made == str(File.objects.get().pk)
        check_arrived(store, site, LARGE)

    @on("gcs")
    def test_a_page_of_another_origin_sends_nothing(
        self, store: Store, site: Site, chromium: Chromium, alice: Any
    ) -> None:
        url = self.visit(site, chromium, alice, left=2)
        headers = f'{{"Content-Range": "bytes {self.STEP}-{LARGE - 1}/{LARGE}"}}'
        script = f"""run(async () => {{
          try {{
            await fetch("{url}", {{method: "PUT", headers: {headers}, body: bytes({LARGE}).slice({self.STEP})}});
            return "sent";
          }} catch (error) {{ return error.name; }}
        }});"""
        with Site() as other:
            assert other.visit(chromium, script=script) == "TypeError"
        session = UploadSession.objects.get()
        assert uploads.look(principal_of(alice), session.pk).size_bytes == self.STEP


@on("local", "ceph", "azure", "gcs")
def test_active_storage_in_a_form(store: Store | None, site: Site, chromium: Chromium, alice: Any) -> None:
    head = f'<meta name="csrf-token" content="{CSRF}">' + package(ACTIVE_STORAGE)
    body = (
        '<form method="post" action="/form"><input type="file" name="scan"'
        ' data-direct-upload-url="/rails/direct_uploads"><button>Save</button></form>'
    )
    steps = f"""
      ActiveStorage.start();
      const input = document.querySelector("input"), chosen = new DataTransfer();
      chosen.items.add(file({SMALL}));
      input.files = chosen.files;
      addEventListener("direct-upload:error", (event) => report({{error: event.detail.error}}));
      document.querySelector("button").click();"""
    posted = parse_qs(site.visit(chromium, script=steps, head=head, body=body, cookies=cookies_of(alice)))
    assert set(posted) == {"scan"}
    assert not File.objects.exists()
    finalized = uploads.redeem(principal_of(alice), posted["scan"][0])
    assert finalized.reference == str(File.objects.get().pk)
    check_arrived(store, site, SMALL)


class Page:
    """A page with Uppy as people set it up; ``hold`` and ``gone`` alone look at what it fetches."""

    def __init__(self, version: int, site: Site, chromium: Chromium, user: Any, *, in_parts: bool = True) -> None:
        self.head = package(UPPY[version])
        self.site, self.chromium, self.user = site, chromium, user
        self.version = version
        endpoint = uploads.uppy_endpoint(principal_of(user))
        option = "companionEndpoint" if version == 6 else "endpoint"
        self.setup = f"""
          const uppy = new Uppy.Uppy().use(Uppy.AwsS3, {{
            {option}: "{endpoint}", shouldUseMultipart: {str(in_parts).lower()}, allowedMetaFields: ["size"],
          }});
          uppy.on("file-added", (file) => uppy.setFileMeta(file.id, {{size: file.size}}));
          const said = ({{successful, failed}}) => ({{
            successful: (successful || []).map((file) => uppy.getFile(file.id).response.body),
            failed: (failed || []).map((file) => String(file.error)),
          }});
          const add = (size) => uppy.addFile({{name: "scan.pdf", type: "application/pdf", data: file(size)}});
          const once = (event) => new Promise((done) => uppy.once(event, (_, about) => done(about)));
          const reallyFetch = window.fetch, hooks = [];
          window.fetch = async (url, options = {{}}) => {{
            const answer = await reallyFetch(url, options);
            for (const hook of hooks) await hook(String(url), options.method || "GET");
            return answer;
          }};
          const hold = (part, milliseconds) => new Promise((held) => {{
            let left = 1;
            hooks.push(async (url) => {{
              if (!url.includes(`/${{part}}?key=`) || left-- < 1) return;
              held();
              await sleep(milliseconds);
            }});
          }});
          const gone = new Promise((done) => hooks.push(async (url, method) => {{ if (method === "DELETE") done(); }}));
        """

    def run(self, steps: str) -> Any:
        script = self.setup + f"run(async () => {{ {steps} }});"
        return self.site.visit(self.chromium, script=script, head=self.head, cookies=cookies_of(self.user))

    def asked(self, method: str, pattern: str) -> list[int]:
        """Return the status of each request to the facade."""
        return [
            status for verb, path, status in self.site.requests
            if verb == method and re.fullmatch(rf"/uppy/[^/]+/s3/{pattern}", path)
        ]  # fmt: skip


@pytest.fixture(params=[4, 5, 6], ids=["uppy-4", "uppy-5", "uppy-6"])
def page(request: pytest.FixtureRequest, site: Site, chromium: Chromium, alice: Any) -> Page:
    return Page(request.param, site, chromium, alice)


@on("local", "ceph", "gcs", "azure")
def test_uppy_in_parts(store: Store | None, site: Site, page: Page) -> None:
    result = page.run(f"""
      let most = 0;
      uppy.on("upload-progress", (_, {{bytesUploaded}}) => {{ most = Math.max(most, bytesUploaded); }});
      add({LARGE});
      return {{...said(await uppy.upload()), most}};
    """)
    file = File.objects.get()
    (body,) = result["successful"]
    assert (body["key"], body["location"]) == (UploadSession.objects.get().pk, f"{site.url}/f/{file.pk}")
    assert (result["failed"], result["most"]) == ([], LARGE)
    assert page.asked("GET", r"multipart/upl_\w+/\d+") == [200] * 3
    check_arrived(store, site, LARGE, relayed=isinstance(store, AzureStore))


@on("ceph", "azure", "gcs")
@pytest.mark.parametrize("version", [4, 5], ids=["uppy-4", "uppy-5"])
def test_uppy_in_one_request(store: Store, site: Site, chromium: Chromium, alice: Any, version: int) -> None:
    page = Page(version, site, chromium, alice, in_parts=False)
    finalized = page.run(f"""
      add({SMALL});
      const {{successful: [{{key}}]}} = said(await uppy.upload());
      const headers = {{"Content-Type": "application/json", "X-CSRFToken": "{CSRF}"}};
      const answer = await fetch(`/api/v1/uploads/${{key}}/finalize`, {{method: "POST", headers, body: "{{}}"}});
      return answer.json();
    """)
    assert finalized["state"] == "ready"
    check_arrived(store, site, SMALL)


@on("ceph", "gcs", "azure")
def test_uppy_pauses_and_goes_on_with_what_is_missing(store: Store, site: Site, page: Page) -> None:
    result = page.run(f"""
      const held = hold(2, 3000);
      add({LARGE});
      const uploaded = uppy.upload();
      const {{PartNumber}} = await once("s3-multipart:part-uploaded");
      await held;
      uppy.pauseAll();
      await sleep(300);
      uppy.resumeAll();
      return {{...said(await uploaded), PartNumber}};
    """)
    assert (len(result["successful"]), result["failed"]) == (1, [])
    assert page.asked("GET", r"multipart/upl_\w+") == [200], "asked once which parts are there"
    assert page.asked("GET", r"multipart/upl_\w+/2") == [200] * 2, "signed anew"
    there = result["PartNumber"]
    assert page.asked("GET", rf"multipart/upl_\w+/{there}") == [200], "what had gone did not go again"
    check_arrived(store, site, LARGE, relayed=isinstance(store, AzureStore))


@on("ceph", "gcs", "azure")
def test_uppy_has_a_part_signed_anew_whose_link_has_ended(store: Store, site: Site, page: Page, settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"DEFAULT_TTL": 3}
    result = page.run(f"""
      hold(2, 4500);
      add({LARGE});
      const first = said(await uppy.upload());
      return [first, said(await uppy.retryAll())];
    """)
    # 4 and 5 ask for another link by themselves; 6 when somebody presses the button.
    is_told = page.version == 6
    assert [len(step["successful"]) for step in result] == ([0, 1] if is_told else [1, 0])
    assert [len(step["failed"]) for step in result] == ([1, 0] if is_told else [0, 0])
    assert page.asked("GET", r"multipart/upl_\w+/2") == [200, 200]
    assert UploadSession.objects.count() == 1
    check_arrived(store, site, LARGE, relayed=isinstance(store, AzureStore))


@on("ceph", "gcs", "azure")
def test_uppy_gives_up(store: Store, site: Site, page: Page) -> None:
    page.run(f"""
      hold(3, 3000);
      add({LARGE});
      uppy.upload();
      await once("s3-multipart:part-uploaded");
      uppy.cancelAll();
      await gone;
      return true;
    """)
    assert page.asked("DELETE", r"multipart/upl_\w+") == [200]
    session = UploadSession.objects.get()
    assert (session.state, session.store_upload_id) == ("aborted", "")
    assert list(storages[store.alias].objects.unfinished()) == []  # type: ignore[attr-defined]
    assert not File.objects.exists()
