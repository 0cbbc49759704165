#!/bin/sh
# Installs the servers that the tests start themselves, and keeps Debian from starting them as services.
set -eu

packages="apache2 apache2-utils caddy ceph-common ceph-mon ceph-osd chromium clamav-daemon libapache2-mod-wsgi-py3"
packages="$packages libapache2-mod-xsendfile lighttpd nginx postgresql radosgw"
# Also part of Node's own packages, which must not be mixed with Debian's.
command -v npm >/dev/null || packages="$packages nodejs npm"

missing=""
for package in $packages; do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' ||
        missing="$missing $package"
done
[ -n "$missing" ] || exit 0

policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    # 101 is "forbidden by policy": https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet --quiet
# shellcheck disable=SC2086 # a list of packages
apt-get install --yes --quiet --quiet --no-install-recommends $missing
