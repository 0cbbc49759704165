"""A Ceph RADOS gateway with one monitor and one object store in memory: the S3 server that checks signatures.

It must not need root, a configuration file of the machine, or a manager daemon.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from tests.emulators.process import LOOPBACK, Emulator, free_port, require_programs
from tests.emulators.s3 import REGION, Credentials, answers, s3_client

PROGRAMS = ("monmaptool", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph")
UPLOADS_PREFIX = "uploads/"

# Sources: https://docs.ceph.com/en/pacific/rados/configuration/ and https://docs.ceph.com/en/pacific/radosgw/
CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = v2:{loopback}:{mon_port}/0
public addr = {loopback}
cluster addr = {loopback}
ms bind msgr1 = false
admin socket =
run dir = {directory}
crash dir = {directory}
log file = {directory}/$name.log
mon cluster log file = {directory}/cluster.log
# Without authentication the default mode of the monitor's messenger, secure, makes the gateway wait for ever.
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
ms mon cluster mode = crc
ms mon service mode = crc
# One store, few placement groups, and nobody to warn about it.
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 2000
# A fresh disk with little room is not this cluster's business: everything is in memory.
mon data avail crit = 1
mon data avail warn = 1
# The monitor waits this long before it decides; the default of a second adds up to ten.
paxos propose interval = 0.02
paxos min wait = 0.01
mon data = {directory}/mon
osd data = {directory}/osd
osd objectstore = memstore
memstore device bytes = 2147483648
osd class load list = *
osd class default list = *
# A client that asked before the store was up asks again after this many seconds; the default is 5.
objecter tick interval = 0.2

[client.rgw]
keyring = {directory}/none
rgw data = {directory}
rgw frontends = beast endpoint={loopback}:{port}
rgw thread pool size = 32
rgw dns name = localhost
"""


class CephGateway(Emulator):
    """Run a Ceph RADOS gateway.

    Its users: ``credentials`` owns the buckets that ``create_bucket`` makes; ``other_credentials`` is a
    stranger to them; ``restricted_credentials`` has only what ``grant_uploads`` gives.

    It serves ``http://bucket.localhost:port/key`` as well as ``http://127.0.0.1:port/bucket/key``. A resolver
    that does not follow RFC 6761 section 6.3 knows no ``bucket.localhost``, and boto3 works with path
    style only there; ``tests.emulators.s3.send`` sends a virtual-host link without asking the resolver.
    """

    name = "ceph"

    region = REGION
    endpoint_url: str
    virtual_host_endpoint_url: str
    credentials: Credentials
    other_credentials: Credentials
    restricted_credentials: Credentials

    @property
    def access_key_id(self) -> str:
        return self.credentials.access_key_id

    @property
    def secret_access_key(self) -> str:
        return self.credentials.secret_access_key

    def client(self, credentials: Credentials | None = None, *, addressing_style: str = "path") -> Any:
        """Make a boto3 client of the main user, or of whose credentials are given.

        ``addressing_style="virtual"`` makes links for ``bucket.localhost``.
        """
        endpoint_url = self.endpoint_url if addressing_style == "path" else self.virtual_host_endpoint_url
        return s3_client(endpoint_url, credentials or self.credentials, addressing_style=addressing_style)

    def create_bucket(self, name: str, *, cors: list[dict[str, Any]] | None = None) -> str:
        """Create a bucket of the main user and return its name; ``cors`` is a list of boto3's CORSRules."""
        client = self.client()
        client.create_bucket(Bucket=name)
        if cors is not None:
            client.put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": cors})
        return name

    def grant_uploads(self, bucket: str) -> None:
        """Let the restricted user get and put objects below ``uploads/``, and nothing else.

        Without the right to list, a missing key answers 403 to that user, as on AWS.
        """
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": ["arn:aws:iam:::user/restricted"]},
            "Action": ["s3:GetObject", "s3:PutObject"],
            "Resource": [f"arn:aws:s3:::{bucket}/{UPLOADS_PREFIX}*"],
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        self.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    def _check_installed(self) -> None:
        require_programs(self.name, PROGRAMS)

    def _start(self) -> None:
        port, mon_port, fsid = free_port(), free_port(), str(uuid.uuid4())
        self._configuration_path = self.directory / "ceph.conf"
        self._configuration_path.write_text(
            CONFIGURATION.format(fsid=fsid, loopback=LOOPBACK, port=port, mon_port=mon_port, directory=self.directory)
        )
        self.endpoint_url = f"http://{LOOPBACK}:{port}"
        self.virtual_host_endpoint_url = f"http://localhost:{port}"

        self._start_monitor(fsid, mon_port)
        self._start_store()
        self._start_gateway()

    def _command(self, program: str, *arguments: str | Path) -> list[str | Path]:
        return [program, "--conf", self._configuration_path, *arguments]

    def _start_monitor(self, fsid: str, mon_port: int) -> None:
        monmap = self.directory / "monmap"
        address = f"[v2:{LOOPBACK}:{mon_port}]"
        self.run(["monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", address, monmap])
        self.run(self._command("ceph-mon", "--mkfs", "--id", "a", "--monmap", monmap))
        self.spawn("ceph-mon", self._command("ceph-mon", "-f", "--id", "a"))

    def _start_store(self) -> None:
        (self.directory / "osd").mkdir()
        osd_uuid = str(uuid.uuid4())
        # The first command waits for the monitor.
        self.run(self._command("ceph", "--connect-timeout", "20", "osd", "new", osd_uuid, "0"))
        self.run(self._command("ceph-osd", "--mkfs", "--id", "0", "--osd-uuid", osd_uuid))
        self.spawn("ceph-osd", self._command("ceph-osd", "-f", "--id", "0"))

    def _start_gateway(self) -> None:
        self.credentials = Credentials.generate()
        self.other_credentials = Credentials.generate()
        self.restricted_credentials = Credentials.generate()
        # The first command makes the zone and its pools; the gateway would try the same at the same time.
        self._create_user("main", self.credentials)
        self.spawn("radosgw", self._command("radosgw", "-f", "-n", "client.rgw"))
        self._create_user("other", self.other_credentials)
        self._create_user("restricted", self.restricted_credentials)
        client = self.client()
        self.wait_until(lambda: answers(client), what="the gateway")

    def _create_user(self, uid: str, credentials: Credentials) -> None:
        keys = f"--access-key={credentials.access_key_id}", f"--secret-key={credentials.secret_access_key}"
        self.run(self._command("radosgw-admin", "user", "create", f"--uid={uid}", "--display-name", uid, *keys))
