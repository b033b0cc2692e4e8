#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Hostile stores: what is no image, names that bite, files that change, bytes that lie. Never a crash, a hang or a
# blocked loop; each a finding or a clear line.
load lib

setup() { need qemu-img qemu-io python3; qcaudit_setup; make_image "$STORE/good.qcow2"; }
teardown() { qcaudit_teardown; }

# The daemon lives, answers, and saw the good image.
lives() {
    kill -0 "$DAEMON"
    run -0 ctl images --json=short
    [[ $output == *good.qcow2* ]]
    run -1 grep -iE 'sanitizer|assert|segv' "$LOG"
}

@test "fifo, socket, device, folder, dangling and circular links called x.qcow2" {
    mkfifo "$STORE/fifo.qcow2"
    python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$STORE/socket.qcow2"
    mkdir -p "$STORE/folder.qcow2/deeper.qcow2"
    ln -s /nowhere/at/all.qcow2 "$STORE/dangling.qcow2"
    ln -s circle.qcow2 "$STORE/circle.qcow2"
    ln -s /etc/shadow "$STORE/outside.qcow2"
    [ "$(id -u)" != 0 ] || mknod "$STORE/null.qcow2" c 1 3
    start_daemon
    scan
    lives
    same "" "$(findings | grep -vE ' (outside|null|dangling|circle)\.qcow2$')"
}

@test "names with newline, escape sequences, quotes, invalid UTF-8" {
    names=($'new\nline.qcow2' $'esc\e[31mred.qcow2' "quote'\".qcow2" $'latin\xff.qcow2' '$(touch hurt).qcow2' ' blank .qcow2' '-rf.qcow2')
    for name in "${names[@]}"; do
        cp "$STORE/good.qcow2" "$STORE/$name"
        leak_image "$STORE/$name"
    done
    start_daemon
    scan
    lives
    same "7 clusters-leaked
3 name-unsafe" "$(ctl findings --json=short | python3 -c 'import collections, json, sys
for name, count in collections.Counter(row["name"] for row in json.load(sys.stdin)).items(): print(count, name)' | sort -k 2)"
    # Neither the terminal nor the log gets any of it raw.
    { ctl findings; ctl images; ctl show "$STORE/${names[1]}"; ctl show "$STORE/${names[0]}"; cat "$LOG"; } >"$DIR/said"
    run -1 grep -q $'\e\[31m' "$DIR/said"
    run -1 grep -qaP '[\x00-\x08\x0b-\x1f\x7f\xff]' "$DIR/said"
    [ ! -e hurt ]
}

@test "names with characters that nobody sees" {
    local hidden=('zw\u200bsp' 'hangul\u3164filler' 'joiner\u034fx' 'half\uffa0x' 'jamo\u115fx' 'khmer\u17b4x' 'selector\ufe0fx'
        'note\U0001d173x' 'tag\U000e0041x') name
    for name in "${hidden[@]}"; do cp "$STORE/good.qcow2" "$STORE/$(LC_ALL=C.UTF-8 printf "$name").qcow2"; done
    # what is seen as it is meant: a cloud as a picture
    cp "$STORE/good.qcow2" "$STORE/"$'\xe2\x98\x81\xef\xb8\x8f.qcow2'
    start_daemon
    scan
    lives
    same "${#hidden[@]}" "$(findings | grep -c '^name-unsafe ')"
    same "" "$(findings | grep -v '^name-unsafe ')"
    ctl findings >"$DIR/said"
    run -1 grep -qaP '[^\x00-\x7f]' "$DIR/said"
}

@test "an image without permission" {
    [ "$(id -u)" = 0 ] || skip "needs root, to run the daemon as somebody else"
    need setpriv
    cp "$STORE/good.qcow2" "$STORE/secret.qcow2"
    chmod 000 "$STORE/secret.qcow2"
    chown -R nobody "$STATE" "$RUN"
    # The build tree need not be reachable for everybody.
    mkdir "$DIR/bin"
    cp "$(command -v qcauditd)" "$QCAUDIT_LIBEXECDIR/qcaudit-worker" "$QCAUDIT_LIBEXECDIR/qcaudit-files" "$DIR/bin"
    export QCAUDIT_LIBEXECDIR=$DIR/bin PATH=$DIR/bin:$PATH
    DAEMON_WRAPPER=(setpriv --reuid nobody --regid nogroup --clear-groups)
    start_daemon
    scan
    lives
    has_finding "not-auditable"
    run -0 findings
    [[ $output != *critical* && $output != *parent* ]]
}

@test "a lease on an image: said while it is kept, and audited soon after it was given up" {
    cp "$STORE/good.qcow2" "$STORE/leased.qcow2"
    leak_image "$STORE/leased.qcow2"
    coproc HOLDER { exec python3 -c '
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
fd = os.open(sys.argv[1], os.O_RDWR)
try:
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    print("leased", flush=True)
except OSError:
    print("none", flush=True)
sys.stdin.readline()
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
sys.stdin.readline()        # closed only then: that it is free makes no event' "$STORE/leased.qcow2" 3>&- 4>&-; }
    local pid=$HOLDER_PID to=${HOLDER[1]} said
    read -r said <&"${HOLDER[0]}"
    [ "$said" = leased ] || skip "this file system has no leases"
    start_daemon
    scan
    same "not-auditable warning leased.qcow2" "$(findings)"
    ctl findings --json=short | jq -e '.[0].evidence.reason == "lease" and (.[0].summary | contains("has a lease on it"))'
    echo >&"$to"
    wait_for 60 has_finding "clusters-leaked warning leased.qcow2"
    same "clusters-leaked warning leased.qcow2" "$(findings)"
    kill "$pid"
    lives
}

@test "files that grow, shrink, are replaced and vanish all the time" {
    start_daemon
    (
        for ((i = 0; i < 150; i++)); do
            cp "$STORE/good.qcow2" "$STORE/moving.qcow2"
            truncate -s $((i * 3000)) "$STORE/moving.qcow2"
            mv "$STORE/moving.qcow2" "$STORE/moved-$((i % 5)).qcow2"
            rm -f "$STORE/moved-$(((i + 2) % 5)).qcow2"
        done
    ) 3>&- 4>&-
    scan
    lives
    rm -f "$STORE"/mov*
    wait_for 20 has_no_finding mov
}

@test "random bytes, with and without the magic" {
    python3 - "$STORE" <<'END'
import random, sys
chance = random.Random(7)
for index in range(60):
    with open(f"{sys.argv[1]}/random-{index}.qcow2", "wb") as file:
        if index % 3:
            file.write(b"QFI\xfb\0\0\0" + bytes([2 + index % 2]))
        file.write(chance.randbytes(chance.choice((0, 1, 60, 64, 104, 5000, 200000))))
END
    start_daemon
    scan
    lives
    # Whatever has the magic and cannot be opened says why.
    [ "$(findings | grep -cE '^(header-invalid|feature-unknown|image-truncated|reference-|metadata-corrupt)')" -ge 30 ]
    [ -z "$(findings | grep audit-failed)" ]
}

@test "each header field at its extremes" {
    python3 -B - "$STORE" "$IMAGES" <<'END'
import shutil, sys
sys.path.insert(0, sys.argv[2])
from imagekit import Qcow2
fields = [(4, 4), (8, 8), (16, 4), (20, 4), (24, 8), (32, 4), (36, 4), (40, 8), (48, 8), (56, 4), (60, 4), (64, 8),
          (72, 8), (80, 8), (88, 8), (96, 4), (100, 4), (104, 1)]
for offset, size in fields:
    for name, value in (("zero", 0), ("max", (1 << 8 * size) - 1), ("sign", 1 << 8 * size - 1), ("signmax", (1 << 8 * size - 1) - 1)):
        path = f"{sys.argv[1]}/field-{offset}-{name}.qcow2"
        shutil.copy(f"{sys.argv[1]}/good.qcow2", path)
        with Qcow2(path) as image:
            image.put(offset, size, value)
END
    start_daemon
    scan
    lives
    [ -z "$(findings | grep audit-failed)" ]
    has_finding "header-invalid error field-20-max.qcow2"
    has_finding "feature-unknown error field-72-sign.qcow2"
}

@test "tables that point at themselves, and a gigabyte of snapshots claimed" {
    for name in l1-points-at-itself l2-points-at-itself reftable-block-is-table snapshot-table-65536 header-l1-4Mi \
        snapshot-l1-4Mi reftable-far; do
        "$IMAGES/generate" "$STORE" "$name"
    done
    start_daemon
    scan
    lives
    [ -z "$(findings | grep audit-failed)" ]
    for name in l1-points-at-itself l2-points-at-itself reftable-block-is-table header-l1-4Mi; do
        has_finding "metadata-corrupt critical $name.qcow2"
    done
    has_finding "snapshot-table-bad error snapshot-table-65536.qcow2"
}

@test "a deep folder tree, and a folder that turns into a link" {
    deep=$STORE
    for ((i = 0; i < 60; i++)); do deep=$deep/folder; mkdir "$deep"; done
    cp "$STORE/good.qcow2" "$deep/deep.qcow2"
    leak_image "$deep/deep.qcow2"
    start_daemon
    scan
    lives
    has_finding deep.qcow2
    mv "$STORE/folder" "$DIR/away"
    ln -s "$DIR/away" "$STORE/folder"
    scan
    wait_for 20 has_no_finding deep.qcow2
}

@test "a chain of 300 layers: told once, judged, and the limit is named" {
    name=base.qcow2
    make_image "$STORE/$name"
    python3 -B - "$STORE" <<'END'
import struct, sys
# The same empty overlay 300 times, each on the one before: qemu-img would open the whole chain for each.
def overlay(parent):
    cluster = 512
    name = parent.encode()
    backing_at = 112 + 8 + 8 + 8
    head = struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, backing_at, len(name), 9, 4 << 20, 0, 128, 3 * 512, 512, 1, 0, 0, 0, 0, 0, 4, 104)
    head += struct.pack(">II5s3xII", 0xE2792ACA, 5, b"qcow2", 0, 0) + bytes(8)
    head = head.ljust(backing_at, b"\0") + name
    table = struct.pack(">Q", 2 * 512).ljust(512, b"\0")
    block = b"".join(struct.pack(">H", 1) for _ in range(5)).ljust(512, b"\0")
    return head.ljust(512, b"\0") + table + block + bytes(1024)
parent = "base.qcow2"
for index in range(1, 300):
    path = f"layer-{index:03}.qcow2"
    with open(f"{sys.argv[1]}/{path}", "wb") as file:
        file.write(overlay(parent))
    parent = path
END
    qemu-img check "$STORE/layer-001.qcow2"
    start_daemon
    scan
    lives
    has_finding "chain-limit critical base.qcow2"
    has_finding "chain-deep critical base.qcow2"
    [ "$(findings | grep -c chain-deep)" = 1 ]
}
