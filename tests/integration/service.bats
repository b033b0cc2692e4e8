#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The packages, built as Debian builds them, and the service in a machine of its own: installed, used, booted again,
# purged. All happens once; the cases read the transcript.
load lib

TOOLS="dpkg-buildpackage dh dh_apparmor apt-get systemd-nspawn qemu-img libvirtd virsh busctl jq"

possible() {
    local tool
    [ "$(id -u)" = 0 ] && [ -e "$top_srcdir/debian/rules" ] || return 1
    for tool in $TOOLS; do command -v "$tool" >/dev/null || return 1; done
}

build_packages() { # DIR
    release_tree "$1" || return 1
    cd "$1"/qcaudit-[0-9]*/ || return 1
    env -u MAKEFLAGS -u MAKELEVEL -u QCAUDIT_LIBEXECDIR DEB_BUILD_OPTIONS="nocheck parallel=2 terse noautodbgsym" \
        dpkg-buildpackage -Pnocheck -b -us -uc >"$1/build.log" 2>&1 3>&- 4>&- || { tail -n 40 "$1/build.log"; return 1; }
}

setup_file() {
    possible || return 0
    mkdir "$BATS_FILE_TMPDIR/packages"
    build_packages "$BATS_FILE_TMPDIR/packages" >"$BATS_FILE_TMPDIR/build" 2>&1 || return 0
    "$top_srcdir/tests/integration/systemd-host" -t 280 -b "$BATS_FILE_TMPDIR/packages:/srv/packages" \
        -b "$top_srcdir/tests:/srv/tests" -j "$BATS_FILE_TMPDIR/journal" -- \
        /srv/tests/integration/service-guest /srv/packages /srv/tests \
        >"$BATS_FILE_TMPDIR/transcript" 2>&1 3>&- 4>&- || echo "status $?" >>"$BATS_FILE_TMPDIR/transcript"
}

built() {
    need_root
    [ -e "$top_srcdir/debian/rules" ] || skip "a tree without debian/"
    # shellcheck disable=SC2086
    need $TOOLS
    [ -e "$BATS_FILE_TMPDIR/packages" ] || { cat "$BATS_FILE_TMPDIR/build"; return 1; }
    ls "$BATS_FILE_TMPDIR"/packages/qcauditd_*.deb >/dev/null || { cat "$BATS_FILE_TMPDIR/build"; return 1; }
}

# said NAME...: the guest found each of them well.
said() {
    local name transcript=$BATS_FILE_TMPDIR/transcript
    built
    ! grep -qx 'status 77' "$transcript" || skip "$(grep '^systemd-host:' "$transcript")"
    if ! grep -qE '^(ok|not ok) ' "$transcript"; then cat "$transcript"; return 1; fi
    for name in "$@"; do
        grep -qx "ok $name" "$transcript" || {
            echo "expected: ok $name"
            if grep -qE "^not ok $name:" "$transcript"; then grep -A 20 "^not ok $name:" "$transcript"
            else tail -n 60 "$transcript"; fi
            return 1
        }
    done
}

@test "dpkg-buildpackage makes three packages" {
    built
    cd "$BATS_FILE_TMPDIR/packages"
    ls ./*.deb
    [ "$(printf '%s\n' *.deb | sed 's/_.*//' | xargs)" = "libqcaudit-dev libqcaudit0 qcauditd" ]
    dpkg -c qcauditd_*.deb | awk '{print $6}' >"$BATS_TEST_TMPDIR/contents"
    for file in ./usr/sbin/qcauditd ./usr/bin/qcauditctl ./usr/libexec/qcaudit/qcaudit-worker \
        ./usr/libexec/qcaudit/qcaudit-files ./lib/systemd/system/qcauditd.service ./etc/qcaudit/qcauditd.yaml \
        ./usr/share/man/man8/qcauditd.8.gz ./usr/share/dbus-1/system.d/org.qcaudit.Auditor1.conf \
        ./etc/apparmor.d/usr.sbin.qcauditd ./usr/lib/systemd/catalog/qcaudit.catalog \
        ./usr/share/qcaudit/monitoring/prometheus-rules.yml; do
        grep -qx "$file" "$BATS_TEST_TMPDIR/contents" || { echo "$file is missing"; return 1; }
    done
}

@test "the library's package has every symbol with its version" {
    built
    mkdir "$BATS_TEST_TMPDIR/control"
    dpkg -e "$BATS_FILE_TMPDIR"/packages/libqcaudit0_*.deb "$BATS_TEST_TMPDIR/control"
    sed -n 's/^ \(qca_[a-z_]*\)@LIBQCAUDIT_0 .*/\1/p' "$BATS_TEST_TMPDIR/control/symbols" | sort >"$BATS_TEST_TMPDIR/have"
    sed -n 's/^ *\(qca_[a-z_]*\);$/\1/p' "$top_srcdir/lib/libqcaudit.sym" | sort >"$BATS_TEST_TMPDIR/want"
    [ -s "$BATS_TEST_TMPDIR/want" ]
    diff "$BATS_TEST_TMPDIR/want" "$BATS_TEST_TMPDIR/have"
}

@test "lintian finds no error" {
    need lintian
    built
    run lintian --allow-root --fail-on error "$BATS_FILE_TMPDIR"/packages/*.changes
    echo "$output"
    [ "$status" = 0 ]
}

@test "rpmbuild takes the spec" {
    need rpmspec rpmbuild
    run -0 rpmspec -P "$top_srcdir/qcaudit.spec"
    run -0 rpmspec -q --qf '%{name} ' "$top_srcdir/qcaudit.spec"
    for package in qcauditd libqcaudit libqcaudit-devel; do grep -qw -- "$package" <<<"$output"; done
    run -0 rpmbuild --nobuild --nodeps --define "_topdir $BATS_TEST_TMPDIR" "$top_srcdir/qcaudit.spec"
}

@test "installed: enabled, active, its own user, its own folder, a catalogue" {
    said install installed-is-active installed-is-enabled installed-has-socket installed-user state-is-private \
        no-failed-unit catalogue-installed
}
@test "installed: the system bus lets it have its name, without a restart" { said installed-has-bus-name; }
@test "installed: the package's own test of the service" { said autopkgtest; }
@test "it starts, is ready, audits, and says how it is" { said start type-notify scan status-text; }
@test "the program of alerts.exec runs in a service of its own, and test-alert tries it and the journal" {
    said notify-listens notify-is-the-daemons test-alert test-alert-of-the-journal test-alert-of-the-program program-is-told \
        journal-names-the-number test-alert-fails test-alert-says-why program-leaves-nothing
}
@test "the socket starts it" { said socket-listens socket-activates activated; }
@test "reload: a good configuration is taken, with metrics" {
    said reload-good reload-took-it metrics-are-readable metrics-say-images
}
@test "reload: a bad one is refused, with its place, and nothing changes" {
    said reload-bad-is-said reload-bad-place reload-bad-keeps
}
@test "the watchdog restarts one that hangs; SIGKILL is survived" {
    said watchdog-restarts watchdog-is-why kill-restarts nothing-left-of-it
}
@test "a wrong configuration ends it for good: a failed unit, the line, where to look" {
    said wrong-config-is-refused wrong-config-ends-it wrong-config-is-a-failed-unit wrong-config-names-the-line \
        wrong-config-says-where wrong-config-keeps-the-socket wrong-config-mended
}
@test "one that ends again and again is left alone, until somebody says otherwise" {
    said start-limit-bites start-limit-is-why start-limit-is-lifted
}
@test "a worker that is killed for memory is one failed audit" {
    said slow-audit-runs oom-policy worker-killed-is-a-finding worker-killed-daemon-lives worker-comes-back
}
@test "it stops within 10 seconds in the middle of a long audit" { said stop-in-the-middle stop-is-clean stop-leaves-nothing; }
@test "the group may read and not change, others neither" { said group-reads group-changes-nothing others-read-nothing; }
@test "others may read where the configuration says so" { said public-reads public-changes-nothing; }
@test "the system bus: the same for the same people" {
    said bus-answers bus-group-reads bus-group-changes-nothing bus-others-read-nothing bus-others-no-properties bus-public-reads
}
@test "the system bus: introspection, a guarded name, a bus that is restarted" {
    said bus-methods bus-properties bus-signals bus-name-is-guarded bus-restarts bus-restart-harmless
}
@test "libvirt: a damaged image of a domain that is off is an alert, with fields and explanation" {
    said libvirtd libvirt-is-found-by-itself domain-runs domain-has-a-writer libvirt-is-seen alert alert-verbose alert-explained alert-fields alert-ids running-is-well
}
@test "booted again, it goes on where it was" {
    said acknowledged boots-enabled boots-listening boots-up passes-again keeps-findings had-findings audits-nothing-twice \
        tells-nothing-twice bus-again
}
@test "purged without a trace" { said purge purged-without-a-trace purged-user purged-units purged-processes; }
@test "systemd had nothing to say against the units" { said no-warnings-of-the-units; }
