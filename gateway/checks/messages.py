"""The ids of the checks, what to do about each, and how one is registered and said.

Must not look at any setting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.core import checks
from django.core.checks import CheckMessage

from gateway.redaction import redact

__all__ = ["FIXES", "TAG", "check", "found"]

TAG = "gateway"

# docs/checks.md says the same, and a test holds the two together. An id is never used for anything else again.
FIXES = {
    # gateway.checks.project
    "E001": "Mend the key that the message names.",
    "E002": "Add gateway.middleware.GatewayMiddleware to MIDDLEWARE, after AuthenticationMiddleware.",
    "E003": "Put GatewayMiddleware into MIDDLEWARE once, directly after AuthenticationMiddleware.",
    "W004": "Add AuthenticationMiddleware, or call bind_principal() in every view that asks for a link.",
    "E005": 'Add path("gateway/", include("gateway.urls")) to the URLconf.',
    "E006": 'Add "ninja" to INSTALLED_APPS, so that the page of the API has its assets.',
    "E007": "Set GATEWAY['FILE_STORAGE'] to the alias of a private storage in STORAGES.",
    "E008": "Set GATEWAY['AUDIT_DATABASE'] to an alias of DATABASES, or leave it out.",
    "W009": "Set GATEWAY['PUBLIC_URL'] to https://host: in mails and feeds a relative link leads nowhere.",
    "E010": "Set GATEWAY['PUBLIC_URL'] to https://host: a link is a credential.",
    "E011": "Set DEBUG = False where others can reach the site.",
    "E012": "Add django.middleware.csrf.CsrfViewMiddleware to MIDDLEWARE, or take SessionAuthenticator out.",
    "W013": "Raise SESSION_COOKIE_AGE, or lower GATEWAY['MAX_TTL']: a link should not outlive a log-in.",
    "W014": "Say it in STORAGES, and delete the setting.",
    "W015": "Say it as the message tells, and delete the setting.",
    "W016": "Add the host to ALLOWED_HOSTS: Django refuses requests to any other.",
    # gateway.checks.stores
    "E020": "Mend the option that the message names. OPTIONS take the names of options (bucket_name), not of "
    'settings (AWS_STORAGE_BUCKET_NAME), and go before settings: "custom_domain": None undoes a global one.',
    "E021": "Mend the value that the message names: links need a whole key pair, or none for boto3's chain,"
    " a region and a bucket of their own.",
    "E022": "Keep static files on another storage: they are public, and no page can ask for each of them.",
    "W023": "Give the private storage an alias of its own, and the private fields that storage.",
    "E024": "Name the alias with 1 to 64 letters, digits, hyphens and underscores: it is part of links and rows.",
    "E025": "Delete the option: a storage in STORAGES is known by its key there.",
    "E026": "Lower the option: a storage may shorten GATEWAY['MAX_TTL'], never raise it; a URL that stays"
    " the same for longer than half its life would have too little of it left.",
    "W027": "Set it to MAX_TTL or less, or to None: until then links end at MAX_TTL.",
    "W028": "Switch it off: keys are never used twice, so all that could be overwritten is another's file.",
    "E029": "Lengthen it, or give the storage secret_keys of its own.",
    "E030": "Make a key for production, or give the storage secret_keys of its own.",
    "W031": "Give no key pair at all: boto3's chain finds temporary ones, knows when they end and replaces them.",
    # gateway.checks.places
    "W040": "Give each alias a place of its own: who may read the files of one reaches the other's.",
    "W041": "Move one of them to another bucket: the public storage signs links that no policy is asked about.",
    "E042": "Move the files out of what is public. To adopt them where they are, close the public way to them and "
    'add "gateway.E042" to SILENCED_SYSTEM_CHECKS.',
    "W043": "chmod o-rwx, and leave the options of permissions at their defaults, 0o600 and 0o700.",
    "W044": "Write an absolute path: a server started elsewhere would keep the files elsewhere.",
    "E045": "Write https://: the bytes, and the links to them, are for nobody else.",
    "E046": "Name the address of the store: this one is of the machine itself.",
    "W047": "Name the endpoint without the bucket: bucket_name says it.",
    "E048": "Set region_name to the region that the endpoint names.",
    "W049": "Set public_endpoint_url to the address that browsers reach the store at.",
    "W050": "Delete verify, or set it to the file of the store's own certificate authority.",
    # gateway.checks.azure
    "E051": "Name the account's own endpoint: a link that is signed for one account is refused by every other.",
    "W052": "Set token_credential or managed_identity in place of the key, and disallow shared keys on the account: "
    "user delegation keys end by themselves.",
    "E053": "Name an account of your own: this one is of the emulator, and its key is in its documentation.",
    # gateway.checks.rules
    "E060": "Name a class or an instance with decide(principal, resource, operation).",
    "E061": "Name a class with authenticate(request) and reads_authorization.",
    "E062": "Name a class or an instance with of_principal(principal) and of_row(instance).",
    "E063": "Write app.Model.field or app.Model, as the model's _meta.label has it, of a private file field.",
    "E064": "Name the alias of a private storage.",
    "E065": "Name the path from the row to its user.",
    "E066": "Derive it from gateway.fields.PrivateFieldFile: no other .url asks the policy.",
    "E067": "Use storages[alias] of STORAGES, or give the storage the option alias.",
    "E068": "Give the field a private storage, or make it a plain FileField.",
    "E069": "Raise max_length (255 is usual), or mend upload_to.",
    "E071": "Add a CharField(max_length=255, blank=True, editable=False) to the model, and name it.",
    # gateway.checks.thumbnails
    "E070": "Give thumbnails a private alias of their own, as docs/thumbnails.md shows. Where none is made of a "
    'private image, add "gateway.E070" to SILENCED_SYSTEM_CHECKS.',
    # gateway.checks.google
    "W080": "Unset it here, or set endpoint_url to the address that it names.",
    "W081": "Delete sa_email, or set iam_sign_blob to sign as that account.",
    "W082": "Delete it: Cloud Storage lets what an object was stored with win over what a link says of it.",
    # gateway.checks.delivery
    "E090": "Name the alias of the private storage whose files the server has behind this path.",
    "E091": "Set GATEWAY['PATH_POLICIES'] for the alias: without a policy every file is refused.",
    "E092": "Set GATEWAY['TRUSTED_PROXIES'] to 1, and let nginx say who asks, as gateway_conf prints it.",
}


def check(*, deploy: bool = False) -> Callable[[Callable[[], Iterator[CheckMessage]]], Any]:
    """Register a generator of messages; with ``deploy`` it is asked for ``manage.py check --deploy`` alone."""

    def decorate(generator: Callable[[], Iterator[CheckMessage]]) -> Any:
        def run(app_configs: Any, **_: Any) -> list[CheckMessage]:
            return list(generator())

        run.__name__ = generator.__name__
        return checks.register(run, TAG, deploy=deploy)

    return decorate


def found(number: str, text: str, obj: Any = None) -> CheckMessage:
    """Say what is wrong: an error or a warning, as the number has it."""
    kind = checks.Error if number.startswith("E") else checks.Warning
    # What is named may be an address with a password in it.
    return kind(redact(text), hint=FIXES[number], obj=obj, id=f"gateway.{number}")
