"""The gateway's addresses in a host project: links, the permalink, the local data plane, the relay; nothing else.

Without django-ninja, which is the extra ``api``, there is no JSON API, and all the rest.
"""

from __future__ import annotations

from importlib.util import find_spec

from django.urls import URLPattern, URLResolver, path

from gateway.delivery.forward_auth import forward_auth
from gateway.delivery.local import data_plane
from gateway.delivery.permalink import permalink
from gateway.delivery.relay import relay

app_name = "presign_gateway"

urlpatterns: list[URLPattern | URLResolver] = [
    path("f/<path:reference>", permalink, name="permalink"),
    path("forward-auth", forward_auth, name="forward_auth"),
    path("local/<slug:alias>/<path:key>", data_plane, name="local"),
    path("relay/<slug:alias>/<path:key>", relay, name="relay"),
]

# A build tool is a package of the same name, and has no such room.
if find_spec("ninja") is not None and find_spec("ninja.orm") is not None:
    from gateway.api.mount import api_urls

    urlpatterns += api_urls(files=False)
