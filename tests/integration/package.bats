#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The packages in a Debian that has nothing but what they declare: built where the build dependencies are, installed where
# the dependencies are, and used there. Everything comes from $QCAUDIT_MIRROR; nothing of this machine is seen inside but
# the release's tree. `tests/run package` runs it.
load lib

MIRROR=${QCAUDIT_MIRROR:-http://deb.debian.org/debian}
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# reason: why it cannot be done here; nothing when it can.
reason() {
    local tool
    [ "$(id -u)" = 0 ] || { echo "needs root"; return; }
    [ -e "$top_srcdir/debian/rules" ] || { echo "a tree without debian/"; return; }
    for tool in mmdebstrap unshare chroot setpriv; do
        command -v "$tool" >/dev/null || { echo "$tool is not installed"; return; }
    done
    [ -e "$KEYRING" ] || { echo "$KEYRING is missing (package debian-archive-keyring)"; return; }
    timeout 60 /usr/lib/apt/apt-helper download-file "$MIRROR/dists/bookworm/Release" "$BATS_FILE_TMPDIR/Release" >/dev/null 2>&1 ||
        echo "no packages from $MIRROR"
}

tell() { printf '# %s: %s\n' "$(date +%T)" "$*" >&3; }

# inside ROOT COMMAND...: in that root, with processes of its own, and this machine's network.
inside() {
    local root=$1
    shift
    # shellcheck disable=SC2016     # for the shell inside
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root DEBIAN_FRONTEND=noninteractive \
        unshare --mount --pid --fork --kill-child sh -c \
        'root=$1; shift; mount -t proc proc "$root/proc" && exec chroot "$root" "$@"' sh "$root" "$@" </dev/null 3>&- 4>&-
}

as_builder() { inside "$BUILD" setpriv --reuid builder --regid builder --clear-groups env HOME=/home/builder "$@"; }

# quietly NAME COMMAND...: its output is in the log NAME; when it fails, which cases of tests did is shown, and its end.
quietly() {
    local log=$BATS_FILE_TMPDIR/$1.log
    tell "$1"
    shift
    "$@" >"$log" 2>&1 || { grep -E '^(FAIL|ERROR): ' "$log" || :; tail -n 40 "$log"; return 1; }
}

setup_file() {
    export REASON BUILD=$BATS_FILE_TMPDIR/build INSTALL=$BATS_FILE_TMPDIR/install
    REASON=$(reason)
    [ -z "$REASON" ] || return 0
    quietly "a minimal root" mmdebstrap --quiet --mode=root --variant=minbase --keyring="$KEYRING" bookworm "$BUILD" "$MIRROR" || return 1
    cp -L /etc/resolv.conf "$BUILD/etc/resolv.conf"
    printf '#!/bin/sh\nexit 101\n' >"$BUILD/usr/sbin/policy-rc.d"
    chmod 755 "$BUILD/usr/sbin/policy-rc.d"
    inside "$BUILD" apt-get -q update >"$BATS_FILE_TMPDIR/update.log" 2>&1 || { cat "$BATS_FILE_TMPDIR/update.log"; return 1; }
    cp -a "$BUILD" "$INSTALL"
}

setup() { [ -z "$REASON" ] || skip "$REASON"; }

packages() { inside "$1" dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort; }

@test "built where nothing but the build dependencies is, with its unit tests" {
    release_tree "$BUILD/srv"
    quietly "build dependencies" inside "$BUILD" sh -c 'apt-get -q -y --no-install-recommends build-dep /srv/qcaudit-*/'
    inside "$BUILD" useradd -m builder
    inside "$BUILD" chown -R builder: /srv
    tell "$(packages "$BUILD" | wc -l) packages"
    quietly "dpkg-buildpackage" as_builder sh -c 'cd /srv/qcaudit-*/ && DEB_BUILD_OPTIONS=parallel=2 dpkg-buildpackage -b -us -uc'
    grep -E '^# (TOTAL|PASS|SKIP|XFAIL|FAIL|XPASS|ERROR):' "$BATS_FILE_TMPDIR/dpkg-buildpackage.log" | xargs | sed 's/^/# /' >&3
    grep -qE '^# PASS: +[1-9][0-9]{2}' "$BATS_FILE_TMPDIR/dpkg-buildpackage.log"
    (cd "$BUILD/srv" && ls -s --block-size=K -- *.deb) | sed 's/^/# /' >&3
    mkdir "$INSTALL/srv/packages"
    cp "$BUILD"/srv/*.deb "$INSTALL/srv/packages/"
}

@test "installed where nothing but its dependencies is: complete, and of few packages" {
    ls "$INSTALL"/srv/packages/qcauditd_*.deb
    packages "$INSTALL" >"$BATS_FILE_TMPDIR/before"
    quietly "install" inside "$INSTALL" sh -c 'apt-get -q -y --no-install-recommends install /srv/packages/qcauditd_*.deb'
    packages "$INSTALL" | comm -13 "$BATS_FILE_TMPDIR/before" - >"$BATS_FILE_TMPDIR/added"
    tell "added: $(xargs <"$BATS_FILE_TMPDIR/added")"
    # libvirt is loaded where it is installed, and not asked for.
    run ! grep -E 'libvirt|libxml|libicu' "$BATS_FILE_TMPDIR/added"
    # Of each program, every library.
    run -0 inside "$INSTALL" sh -c 'ldd /usr/sbin/qcauditd /usr/bin/qcauditctl /usr/libexec/qcaudit/*'
    [[ $output != *'not found'* ]]
    run -0 inside "$INSTALL" qcauditd --version
    run -0 inside "$INSTALL" qcauditd --check-config
    inside "$INSTALL" getent passwd qcaudit
}

@test "what is installed does its work: the package's own tests" {
    local name depends n=0
    cp -a "$top_srcdir/debian/tests" "$INSTALL/srv/tests"
    # A test that needs a machine of its own is run in service.bats.
    while IFS='|' read -r name depends; do
        # shellcheck disable=SC2086     # words on purpose
        quietly "depends of $name" inside "$INSTALL" sh -c 'apt-get -q -y --no-install-recommends install $* /srv/packages/*.deb' sh ${depends//,/ }
        quietly "$name" inside "$INSTALL" sh -c 'AUTOPKGTEST_TMP=$(mktemp -d) && export AUTOPKGTEST_TMP && exec /srv/tests/"$1"' sh "$name"
        n=$((n + 1))
    done < <(awk -F ': ' '
        function out() { if (name != "" && restrictions !~ /isolation/) print name "|" depends; name = restrictions = "" }
        $1 == "Tests" { name = $2 } $1 == "Depends" { depends = $2 } $1 == "Restrictions" { restrictions = $2 } /^$/ { out() } END { out() }' \
        "$top_srcdir/debian/tests/control")
    [ "$n" = 2 ]
}

@test "purged, nothing of it is left" {
    quietly "purge" inside "$INSTALL" sh -c 'apt-get -q -y purge "qcaudit*" "libqcaudit*"'
    run -0 inside "$INSTALL" find / -xdev -path /srv -prune -o -path /proc -prune -o -path /tmp -prune -o \
        -path /var/lib/apt -prune -o -path /var/log -prune -o -iname '*qcaudit*' -print
    [ -z "$output" ] || { echo "$output"; return 1; }
}
