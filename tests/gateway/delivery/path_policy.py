"""A host's policy of paths: each user has the directory of that name."""

from __future__ import annotations

from gateway.policies import Allow, Composable, Deny, Operation
from gateway.principals import Principal
from gateway.resources import Resource


class OwnDirectory(Composable):
    def decide(self, principal: Principal, resource: Resource, operation: Operation) -> Allow | Deny:
        assert resource.key is not None
        if principal.kind == "user" and resource.key.startswith(f"{principal.user.get_username()}/"):
            return Allow(policy="own directory")
        return Deny("not in the user's directory")
