#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The service under a real systemd, as it is installed. All happens once, in one guest; the cases read its transcript.
load lib

setup_file() {
    [ "$(id -u)" = 0 ] && command -v systemd-nspawn >/dev/null && command -v qemu-img >/dev/null || return 0
    export TREE=$BATS_FILE_TMPDIR/tree
    install_tree "$TREE"
    tree_is_usual "$TREE" || return 0
    mkdir "$BATS_FILE_TMPDIR/store"
    make_image "$BATS_FILE_TMPDIR/store/good.qcow2"
    "$top_srcdir/tests/integration/systemd-host" -t 240 -i "$TREE" -b "$BATS_FILE_TMPDIR/store:/srv/store" \
        -b "$top_srcdir/tests:/srv/tests" -j "$BATS_FILE_TMPDIR/journal" -- \
        /srv/tests/integration/systemd-guest /srv/store /srv/tests/images \
        >"$BATS_FILE_TMPDIR/transcript" 2>&1 3>&- 4>&- || echo "status $?" >>"$BATS_FILE_TMPDIR/transcript"
}

# said NAME...: the guest found each of them well.
said() {
    need_root
    need systemd-nspawn qemu-img
    [ -e "$BATS_FILE_TMPDIR/transcript" ] || skip "configured for another prefix than /usr or /usr/local"
    ! grep -qx "status 77" "$BATS_FILE_TMPDIR/transcript" || skip "$(grep "^systemd-host:" "$BATS_FILE_TMPDIR/transcript")"
    local name
    if ! grep -q '^ok stops$\|^not ok' "$BATS_FILE_TMPDIR/transcript"; then
        cat "$BATS_FILE_TMPDIR/transcript"
        return 1
    fi
    for name in "$@"; do
        grep -qx "ok $name" "$BATS_FILE_TMPDIR/transcript" ||
            { grep -A 20 "ok $name" "$BATS_FILE_TMPDIR/transcript" || cat "$BATS_FILE_TMPDIR/transcript"; return 1; }
    done
}

@test "the service starts, as its own user, and says so" { said user start type-notify runs-as status-text; }
@test "it audits a store that only root may read" { said scan walked-with-its-capability; }
@test "the daemon has no capability" { said daemon-effective-capabilities daemon-permitted-capabilities daemon-no-new-privileges; }
@test "qcaudit-files has exactly one" { said files-capability files-seccomp; }
@test "a worker has none, and a seccomp filter" { said worker-effective-capabilities worker-bounding-capabilities worker-no-new-privileges worker-seccomp; }
@test "a damaged image is an alert in the journal, with its fields and its catalogue entry" {
    said alert alert-MESSAGE_ID alert-QCAUDIT_EVENT_ID alert-PRIORITY alert-QCAUDIT_IMAGE alert-QCAUDIT_DATASTORE alert-catalogue
}
@test "findings are not for everybody" { said reading-is-not-for-everybody; }
@test "reload; a wrong configuration keeps it running" { said reload wrong-reload-keeps-running; }
@test "after SIGKILL it comes back, and tells nothing twice" { said restarts told-once; }
@test "the first pass is one entry with all its events; after a crash the journal is asked what it has" {
    said first-pass-summary summary-has-the-ids outbox-emptied told-once-by-the-journal
}
@test "it stops cleanly and leaves no process" { said stops nothing-left; }
@test "systemd has nothing to say against the units" { said no-warnings-of-the-units; }
