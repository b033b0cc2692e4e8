#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Scrubs: all data read again past the page cache, resumable, within window and budget, giving way to others.
load lib

setup() {
    need qemu-img qemu-io python3
    qcaudit_setup
    cat >"$DIR/fincore.py" <<'PY'
import ctypes, mmap, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
def pages(path):
    fd = os.open(path, os.O_RDONLY)
    size = os.fstat(fd).st_size
    at = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    vector = ctypes.create_string_buffer((size + 4095) // 4096)
    assert libc.mincore(at, size, vector) == 0
    os.close(fd)
    return "".join(str(byte & 1) for byte in vector.raw[:(size + 4095) // 4096])
def read_some(path, advice, piece, every):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.posix_fadvise(fd, 0, 0, advice)
    for at in range(0, os.fstat(fd).st_size, 4096):
        if at % every < piece:
            os.pread(fd, 4096, at)
    # what the kernel reads ahead comes by and by
    before = None
    while before != pages(path):
        before = pages(path)
        time.sleep(0.05)
    print(before)
if sys.argv[1] == "none":
    read_some(sys.argv[2], os.POSIX_FADV_NORMAL, 0, 4096)
elif sys.argv[1] == "pages":
    read_some(sys.argv[2], os.POSIX_FADV_RANDOM, 81920, 163840)
elif sys.argv[1] == "pieces":
    read_some(sys.argv[2], os.POSIX_FADV_NORMAL, 262144, 4194304)
else:
    before, after = sys.argv[3], pages(sys.argv[2])
    changes = {}
    for a, b in zip(before, after):
        changes[a + b] = changes.get(a + b, 0) + 1
    print("left {}, evicted {}".format(changes.get("01", 0), changes.get("10", 0)))
PY
}

# scrub_traceless PATH pages|pieces: some of it is cached, and exactly that is cached after a scrub. pages: no other pages
# than were asked for; pieces: the kernel read ahead of who asked, too, and marked pages where it would go on. None of ours
# may ever stay; of the others' pages the kernel itself may take one when memory is scarce, so that is tried again.
scrub_traceless() {
    local before try
    for try in 1 2 3; do
        before=$(python3 -B "$DIR/fincore.py" "$2" "$1")
        case $before in *0*) ;; *) echo "all is cached: $before"; return 1 ;; esac
        case $before in *1*) ;; *) echo "nothing is cached: $before"; return 1 ;; esac
        scrub "$1"
        changes=$(python3 -B "$DIR/fincore.py" look "$1" "$before")
        echo "try $try: $changes"
        [[ $changes == "left 0, "* ]] || return 1
        [ "$changes" = "left 0, evicted 0" ] && return 0
    done
    return 1
}

# scrub_leaves_nothing IMAGE FILE: nothing of FILE is cached, nor after a scrub of IMAGE.
scrub_leaves_nothing() {
    local before
    before=$(python3 -B "$DIR/fincore.py" none "$2")
    scrub "$1"
    changes=$(python3 -B "$DIR/fincore.py" look "$2" "$before")
    echo "$changes"
    [ "$changes" = "left 0, evicted 0" ]
}

teardown() {
    if [ -n "${MOUNTED-}" ]; then
        stop_daemon || :
        umount -l "$MOUNTED" || :
        umount -l "$DIR/fuse" 2>/dev/null || :
    fi
    if [ -n "${FUSE-}" ]; then
        kill "$FUSE" 2>/dev/null || :
        wait "$FUSE" 2>/dev/null || :
    fi
    qcaudit_teardown
}

random_image() { # PATH MIB: a raw-like qcow2 full of random data
    head -c "$2M" /dev/urandom >"$DIR/random"
    qemu-img convert -q -f raw -O qcow2 "$DIR/random" "$1"
    rm "$DIR/random"
}

audit_of() { # PATH FIELD: of its last audit
    ctl show --json=short "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["audit"].get(sys.argv[1], ""))' "$2"
}

# What one audit of the store's one image read at the most: that of its tables may be the last one.
most_read() {
    need sqlite3
    sqlite3 "$STATE/qcaudit.db" 'SELECT max(bytes_read) FROM audit'
}

scrub() { ctl scan --scrub --wait "$@" >/dev/null || [ $? = 2 ]; }

is_scrubbing() { # how many are under way
    [ "$(ctl status --json=short | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["scrubs"]))')" = "$1" ]
}
scrub_field() { # FIELD: of the first one under way
    ctl status --json=short | python3 -c 'import json, sys; print(json.load(sys.stdin)["scrubs"][0][sys.argv[1]])' "$1"
}

is_tmpfs() { [ "$(stat -f -c %T "$DIR")" = tmpfs ]; }

# bats test_tags=kernel
@test "a scrub reads everything past the page cache, and leaves the cache as it was" {
    is_tmpfs && skip "on tmpfs the page cache is the file"
    random_image "$STORE/a.qcow2" 12
    write_config "scrub: { pressure: off }"
    start_daemon
    scan
    run -0 audit_of "$STORE/a.qcow2" reading
    [ "$output" = "" ]
    [ "$(audit_of "$STORE/a.qcow2" bytes-read)" -lt 1000000 ]
    scrub_traceless "$STORE/a.qcow2" pages
    scrub_traceless "$STORE/a.qcow2" pieces
    [ "$(audit_of "$STORE/a.qcow2" reading)" = direct ]
    [ "$(audit_of "$STORE/a.qcow2" bytes-read)" -gt 12582912 ]
    run -0 ctl show "$STORE/a.qcow2"
    [[ $output == *"read, past the page cache"* ]]
    # Unchanged and not due: nothing is read.
    scan
    [ "$(audit_of "$STORE/a.qcow2" bytes-read)" -gt 12582912 ]
    stop_daemon
}

@test "a scrub on btrfs leaves the cache as it was" {
    need mkfs.btrfs mount
    need_root
    truncate -s 256M "$DIR/disk"
    mkfs.btrfs -q "$DIR/disk"
    mount -o loop "$DIR/disk" "$STORE" 2>/dev/null || skip "no loop device, or no btrfs"
    MOUNTED=$STORE
    chmod 755 "$STORE"
    random_image "$STORE/a.qcow2" 12
    write_config "scrub: { pressure: off }"
    start_daemon
    scan
    scrub_leaves_nothing "$STORE/a.qcow2" "$STORE/a.qcow2"
    [ "$(audit_of "$STORE/a.qcow2" reading)" = direct ]
    stop_daemon
}

@test "a kernel that has the file of who waits, and tells nothing in it: scrubs go on, and their timers are set" {
    need unshare mount
    need_root
    [ -e /proc/pressure/io ] || skip "this kernel has no pressure stall information"
    printf 'nothing\n' >"$DIR/nothing"
    unshare -m true 2>/dev/null || skip "no mount namespace may be made"
    # shellcheck disable=SC2016
    DAEMON_WRAPPER=(unshare -m sh -c 'mount --bind "$0" /proc/pressure/io && exec "$@"' "$DIR/nothing")
    random_image "$STORE/a.qcow2" 1
    write_config
    start_daemon
    scan
    scrub "$STORE/a.qcow2"
    [ "$(audit_of "$STORE/a.qcow2" bytes-read)" -gt 1048576 ]
    stop_daemon
    ! grep Cannot "$LOG" || return 1
}

# bats test_tags=kernel
@test "where O_DIRECT cannot be had: what is cached stays, what is not leaves no trace, and the audit says so" {
    need mkfs.ext4 mount
    need_root
    truncate -s 64M "$DIR/disk"
    mkfs.ext4 -q -F "$DIR/disk"
    mount -o loop,data=journal "$DIR/disk" "$STORE" 2>/dev/null || skip "no loop device, or ext4 without data=journal"
    MOUNTED=$STORE
    chmod 755 "$STORE"
    random_image "$STORE/a.qcow2" 12
    write_config "scrub: { pressure: off }"
    start_daemon
    scan
    scrub_traceless "$STORE/a.qcow2" pages
    scrub_traceless "$STORE/a.qcow2" pieces
    [ "$(audit_of "$STORE/a.qcow2" reading)" = uncached ]
    [ "$(audit_of "$STORE/a.qcow2" bytes-read)" -gt 12582912 ]
    run -0 ctl show "$STORE/a.qcow2"
    [[ $output == *"allows no O_DIRECT"* ]]
    # And the same for data in a file of its own.
    qemu-img create -q -f qcow2 -o "data_file=$STORE/b.data" "$STORE/b.qcow2" 8M
    qemu-io -f qcow2 -c 'write -q -P 7 0 8M' "$STORE/b.qcow2"
    scan
    scrub_leaves_nothing "$STORE/b.qcow2" "$STORE/b.data"
    [ "$(audit_of "$STORE/b.qcow2" bytes-read)" -gt 8388608 ]
    [ "$(audit_of "$STORE/b.qcow2" reading)" = uncached ]
    stop_daemon
}

@test "a scrub keeps to its budget, shows how far it is, and ends when its image changes" {
    random_image "$STORE/a.qcow2" 32
    make_image "$STORE/b.qcow2"
    write_config "scrub: { pressure: off, budget: 2MiB/s }"
    start_daemon
    scan
    ctl scan --scrub "$STORE/a.qcow2" >/dev/null
    wait_for 10 is_scrubbing 1
    [ "$(scrub_field path)" = "$STORE/a.qcow2" ]
    half_way() { [ "$(scrub_field done)" -gt 1000000 ]; }
    wait_for 20 half_way
    [ "$(scrub_field total)" = 33554432 ]
    run -0 ctl status
    [[ $output == *"Scrub: "*"a.qcow2: "*"%"* ]]
    # Others are audited meanwhile, on the same device.
    qemu-io -f qcow2 -c 'write -q -P 1 1M 64k' "$STORE/b.qcow2" >/dev/null
    leak_image "$STORE/b.qcow2"
    wait_for 10 has_finding "clusters-leaked"
    is_scrubbing 1
    # A change ends it, at once.
    qemu-io -f qcow2 -c 'write -q -P 1 0 64k' "$STORE/a.qcow2" >/dev/null
    audited_again() { [ "$(audit_of "$STORE/a.qcow2" reading)" = "" ]; }
    wait_for 10 audited_again
    stop_daemon
}

@test "without a budget it is soon done; a new configuration sets another pace" {
    random_image "$STORE/a.qcow2" 8
    write_config "scrub: { pressure: off, budget: 64KiB/s }"
    start_daemon
    scan
    ctl scan --scrub "$STORE/a.qcow2" >/dev/null
    wait_for 10 is_scrubbing 1
    write_config "scrub: { pressure: off }"
    ctl reload
    wait_for 10 is_scrubbing 0
    [ "$(audit_of "$STORE/a.qcow2" bytes-read)" -gt 8388608 ]
    stop_daemon
}

@test "a paused datastore's scrub stops, and goes on when it is resumed" {
    random_image "$STORE/a.qcow2" 8
    write_config "scrub: { pressure: off, budget: 1MiB/s }"
    start_daemon
    scan
    ctl scan --scrub "$STORE/a.qcow2" >/dev/null
    wait_for 10 is_scrubbing 1
    ctl pause store
    wait_for 10 is_scrubbing 0
    ctl resume store
    wait_for 20 is_scrubbing 1
    stop_daemon
}

verified() { # PATH: when it was last found the same, 0 never
    ctl show --json=short "$1" | python3 -c 'import json, sys; print((json.load(sys.stdin).get("baseline") or {}).get("verified", 0))'
}
is_verified() { [ "$(verified "$1")" -gt "${2:-0}" ]; }

# What was read is what it was.
sound() { ! findings | grep -E 'rot|golden-modified|parent-changed|read-error|overdue'; }

# begin_golden BUDGET: a golden image that is being read for the first time, and the first 4 MiB are.
begin_golden() {
    random_image "$STORE/golden.qcow2" 12
    write_config "golden: { patterns: ['*/golden.qcow2'], infer: no }" "scrub: { pressure: off, budget: $1 }"
    start_daemon
    half_way() { is_scrubbing 1 && [ "$(scrub_field done)" -ge 4194304 ]; }
    wait_for 30 half_way
}

@test "a golden image is read by itself, and after a crash in the middle from where it was" {
    begin_golden 1MiB/s
    run ! is_verified "$STORE/golden.qcow2"
    sleep 1     # what was told is on its way to the disk
    kill_daemon
    write_config "golden: { patterns: ['*/golden.qcow2'], infer: no }" "scrub: { pressure: off }"
    start_daemon
    wait_for 30 is_verified "$STORE/golden.qcow2"
    # Not the first part again.
    some_of_it() { [ "$(most_read)" -gt 1000000 ]; }
    wait_for 10 some_of_it
    read=$(most_read)
    echo "read $read"
    [ "$read" -lt 10000000 ]
    before=$(verified "$STORE/golden.qcow2")
    # The digest that was put together of both parts is that of the whole.
    scrub "$STORE/golden.qcow2"
    [ "$(audit_of "$STORE/golden.qcow2" bytes-read)" -gt 12582912 ]
    is_verified "$STORE/golden.qcow2" "$before"
    sound
    stop_daemon
}

@test "an orderly stop, a pause and a release interrupt it too" {
    begin_golden 1MiB/s
    stop_daemon
    start_daemon
    wait_for 20 is_scrubbing 1
    ctl pause store
    wait_for 10 is_scrubbing 0
    write_config "golden: { patterns: ['*/golden.qcow2'], infer: no }" "scrub: { pressure: off }"
    ctl reload
    ctl resume store
    wait_for 30 is_verified "$STORE/golden.qcow2"
    read=$(most_read)
    echo "read $read"
    [ "$read" -lt 10000000 ]
    stop_daemon
}

@test "outside its window it waits, and what was begun goes on when the window opens" {
    begin_golden 1MiB/s
    # A window that begins in two hours.
    window=$(date -d '+2 hours' +%H:%M)-$(date -d '+4 hours' +%H:%M)
    write_config "golden: { patterns: ['*/golden.qcow2'], infer: no }" "scrub: { pressure: off, window: $window }"
    ctl reload
    wait_for 10 is_scrubbing 0
    run -0 ctl status
    [[ $output == *"Scrub: 1 image to be read"* ]]
    run ! is_verified "$STORE/golden.qcow2"
    window=$(date -d '-2 hours' +%H:%M)-$(date -d '+4 hours' +%H:%M)
    write_config "golden: { patterns: ['*/golden.qcow2'], infer: no }" "scrub: { pressure: off, window: $window }"
    ctl reload
    wait_for 30 is_verified "$STORE/golden.qcow2"
    [ "$(most_read)" -lt 10000000 ]
    stop_daemon
}

@test "changed in the middle, it is read again from the start" {
    begin_golden 1MiB/s
    kill_daemon
    qemu-io -f qcow2 -c 'write -q -P 1 0 64k' "$STORE/golden.qcow2" >/dev/null
    write_config "golden: { patterns: ['*/golden.qcow2'], infer: no }" "scrub: { pressure: off }"
    start_daemon
    wait_for 30 is_verified "$STORE/golden.qcow2"
    all_of_it() { [ "$(most_read)" -gt 12582912 ]; }
    wait_for 10 all_of_it
    sound
    stop_daemon
}

@test "another owner is no other content: nothing is read again" {
    need_root
    random_image "$STORE/golden.qcow2" 8
    write_config "golden: { patterns: ['*/golden.qcow2'], infer: no }" "scrub: { pressure: off }"
    start_daemon
    wait_for 30 is_verified "$STORE/golden.qcow2"
    first=$(verified "$STORE/golden.qcow2")
    chown 107:107 "$STORE/golden.qcow2"
    scan
    stop_daemon
    chown 0:0 "$STORE/golden.qcow2"
    start_daemon
    scan
    # It would be read before what comes later.
    mkdir "$STORE/later"
    random_image "$STORE/later/golden.qcow2" 1
    wait_for 30 is_verified "$STORE/later/golden.qcow2"
    fence_judged
    is_scrubbing 0
    [ "$(verified "$STORE/golden.qcow2")" = "$first" ]
    sound
    stop_daemon
}

# serve FOLDER AT: shows FOLDER's files at AT; sectors that are named in BAD cannot be read there.
serve() {
    "$top_builddir/tests/integration/stall-fs" "$1" "$DIR/trigger" "$2" "$DIR/bad" >"$DIR/fuse.log" 2>&1 3>&- 4>&- &
    FUSE=$!
    mounted() { grep -q " $1 fuse" /proc/self/mounts; }
    wait_for 10 mounted "$2"
}

# place_of IMAGE FILE: where FILE, which holds IMAGE, has what IMAGE's guest has 512 bytes behind 3 MiB.
place_of() {
    qemu-img map --output=json "$1" | python3 -c '
import json, sys
for e in json.load(sys.stdin):
    if e["start"] <= 3 << 20 < e["start"] + e["length"]: place = e["offset"] + (3 << 20) - e["start"] + 512
image = open(sys.argv[1], "rb").read()
print(open(sys.argv[2], "rb").read().index(image[place:place + 512]))' "$1" "$2"
}

# The bad sector in the store's golden.qcow2 is told with its range, the rest is hashed, and nothing is left of it when the
# sector is replaced. READING: how it must have been read.
find_bad_sector() { # READING
    write_config "golden: { patterns: ['*/golden.qcow2'], infer: no }" "scrub: { pressure: off }"
    start_daemon
    wait_for 30 has_finding "read-error critical golden.qcow2"
    ctl findings --json=short --name=read-error >"$DIR/found"
    id=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[0]["id"])' "$DIR/found")
    ctl show --json=short "$id" >"$DIR/shown"
    cat "$DIR/shown"
    grep -qE '"guest-offset": ?3145728, ?"guest-length": ?65536' "$DIR/shown"
    [ "$(audit_of "$STORE/golden.qcow2" bytes-read)" -gt 8000000 ]
    [ "$(audit_of "$STORE/golden.qcow2" reading)" = "$1" ]
    # Of what was under way behind it, too, nothing is left.
    before=$(python3 -B "$DIR/fincore.py" none "$STORE/golden.qcow2")
    scrub "$STORE/golden.qcow2"
    changes=$(python3 -B "$DIR/fincore.py" look "$STORE/golden.qcow2" "$before")
    echo "$changes"
    [ "$changes" = "left 0, evicted 0" ]
    # The sector is replaced.
    : >"$DIR/bad"
    scrub "$STORE/golden.qcow2"
    wait_for 30 is_verified "$STORE/golden.qcow2"
    wait_for 30 has_no_finding read-error
    stop_daemon
}

@test "bad sectors: the finding says which range of the guest's disk, the rest is read" {
    need fusermount3
    need_root
    [ -c /dev/fuse ] || skip "no /dev/fuse"
    [ -x "$top_builddir/tests/integration/stall-fs" ] || skip "built without libfuse3"
    mkdir "$DIR/behind"
    random_image "$DIR/behind/golden.qcow2" 8
    echo "$(place_of "$DIR/behind/golden.qcow2" "$DIR/behind/golden.qcow2") 512" >"$DIR/bad"
    MOUNTED=$STORE
    serve "$DIR/behind" "$STORE"
    find_bad_sector direct
}

# bats test_tags=kernel
@test "a sector that cannot be read, where O_DIRECT cannot be had: the same" {
    need fusermount3 mkfs.ext4 mount losetup
    need_root
    [ -c /dev/fuse ] || skip "no /dev/fuse"
    [ -x "$top_builddir/tests/integration/stall-fs" ] || skip "built without libfuse3"
    mkdir "$DIR/behind" "$DIR/fuse"
    truncate -s 48M "$DIR/behind/disk"
    mkfs.ext4 -q -F "$DIR/behind/disk"
    mount -o loop,data=journal "$DIR/behind/disk" "$STORE" 2>/dev/null || skip "no loop device, or ext4 without data=journal"
    MOUNTED=$STORE
    chmod 755 "$STORE"
    random_image "$STORE/golden.qcow2" 8
    cp "$STORE/golden.qcow2" "$DIR/golden.qcow2"
    umount "$STORE"
    echo "$(place_of "$DIR/golden.qcow2" "$DIR/behind/disk") 512" >"$DIR/bad"
    serve "$DIR/behind" "$DIR/fuse"
    # Not through the cache of the file behind, which would read ahead.
    disk=$(losetup --find --show --read-only --direct-io=on "$DIR/fuse/disk")
    mount -o ro,data=journal "$disk" "$STORE"
    losetup -d "$disk"      # once it is not mounted any more
    find_bad_sector uncached
}

@test "compressed data that is garbage costs its cluster alone, and the worker lives" {
    make_image "$DIR/plain.qcow2" 8M
    qemu-img convert -q -c -O qcow2 "$DIR/plain.qcow2" "$STORE/golden.qcow2"
    python3 -B -c '
import sys; sys.path.insert(0, sys.argv[1])
from imagekit import Qcow2
with Qcow2(sys.argv[2]) as q:
    q.put_bytes(q.l2(2) & ((1 << 54) - 1), b"\xff" * 8)' "$IMAGES" "$STORE/golden.qcow2"
    write_config "golden: { patterns: ['*/golden.qcow2'], infer: no }" "scrub: { pressure: off }"
    start_daemon
    was_read() { [ "$(audit_of "$STORE/golden.qcow2" reading)" = direct ]; }
    is_tmpfs || wait_for 30 was_read
    run ! is_verified "$STORE/golden.qcow2"
    has_no_finding audit-failed
    has_no_finding read-error
    stop_daemon
}

# bomb PATH KIND data|again|inside: of a small file. data, again: some clusters, plain or compressed, that all entries of an
# L2 table map, and all entries of the L1 table that table: 16 TiB. inside: one whose stream is 128 MiB.
bomb() {
    local size=16T write=(-c 'write -q -c -P 1 0 64k' -c 'write -q -c -P 2 64k 64k')
    case $3 in
    data) write=(-c 'write -q -P 1 0 64k' -c 'write -q -P 2 64k 64k') ;;
    inside) size=64M ;;
    esac
    qemu-img create -q -f qcow2 -o "compression_type=$2" "$1" $size
    qemu-io -f qcow2 "${write[@]}" "$1"
    python3 -B - "$IMAGES" "$@" <<'PY'
import struct, sys, zlib
sys.path.insert(0, sys.argv[1])
from imagekit import COMPRESSED, COPIED, Qcow2
path, kind, how = sys.argv[2:]
with Qcow2(path) as q:
    if how == "inside":
        if kind == "zlib":
            packer = zlib.compressobj(9, zlib.DEFLATED, -12)
            stream = b"".join(packer.compress(b"A" * 1048576) for _ in range(120)) + packer.flush()
        else:           # a frame of 1,024 blocks, each a byte 131,072 times
            stream = b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", 1024 << 17)
            for i in range(1024):
                stream += struct.pack("<I", (131072 << 3 | 1 << 1 | (i == 1023)))[:3] + b"A"
        sectors = -(-len(stream) // 512)
        assert sectors <= 256
        clusters = -(-len(stream) // q.cluster)
        place = q.append(stream, clusters)
        for i in range(clusters):
            q.put_refcount(place + i * q.cluster, 1)
        q.put_l2(2, COMPRESSED | (sectors - 1) << 54 | place)
    else:
        table = struct.pack(">2Q", q.l2(0) & ~COPIED, q.l2(1) & ~COPIED) * (q.l2_entries // 2)
        q.put_bytes(q.l2_table(), table)
        q.put_bytes(q.l1, struct.pack(">Q", q.l2_table()) * q.l1_entries)
PY
}

@test "bombs: a small file that shows its guest terabytes is given up, and said; others are read meanwhile" {
    mkdir "$STORE/golden"
    bomb "$STORE/golden/zlib.qcow2" zlib again
    bomb "$STORE/golden/zstd.qcow2" zstd again
    bomb "$STORE/golden/data.qcow2" zlib data
    bomb "$STORE/golden/inside-zlib.qcow2" zlib inside
    bomb "$STORE/golden/inside-zstd.qcow2" zstd inside
    for name in zlib zstd data; do [ "$(stat -c %s "$STORE/golden/$name.qcow2")" -lt 1048576 ]; done
    # A hole makes a file as large as its owner likes.
    bomb "$STORE/golden/hole.qcow2" zlib data
    truncate -s 15T "$STORE/golden/hole.qcow2"
    random_image "$STORE/golden/sound.qcow2" 4
    cp "$STORE/golden/sound.qcow2" "$STORE/golden/long.qcow2"
    truncate -s 15T "$STORE/golden/long.qcow2"
    write_config "golden: { patterns: ['*/golden/*'], infer: no }" "scrub: { pressure: off }"
    start_daemon
    for name in zlib zstd data hole; do
        wait_for 120 has_finding "not-auditable warning golden/$name.qcow2"
        # within a second, whatever the workers do
        timeout 10 qcauditctl --socket "$RUN/control" status --exit-zero >/dev/null || [ $? = 2 ]
    done
    wait_for 120 is_verified "$STORE/golden/sound.qcow2"
    wait_for 120 is_verified "$STORE/golden/long.qcow2"
    # What QEMU shows of the stream is its first cluster; of zstd's it shows nothing.
    wait_for 120 is_verified "$STORE/golden/inside-zlib.qcow2"
    scan "$STORE/golden/inside-zstd.qcow2"
    wait_for 120 has_finding "compressed-cluster-bad critical golden/inside-zstd.qcow2"
    run ! has_finding "compressed-cluster-bad critical golden/inside-zlib.qcow2"
    run -1 qemu-io -r -f qcow2 -c 'read -q 128k 64k' "$STORE/golden/inside-zstd.qcow2"
    qemu-io -r -f qcow2 -c 'read -q -P 65 128k 64k' "$STORE/golden/inside-zlib.qcow2"
    ctl findings --name=not-auditable --json=short >"$DIR/found"
    id=$(python3 -c 'import json, sys; print([f["id"] for f in json.load(open(sys.argv[1])) if "zlib" in f["path"]][0])' "$DIR/found")
    run -0 ctl show "$id"
    [[ $output == *"shows its guest more data than the limit"* && $output == *"map more data than its file can hold"* ]]
    has_no_finding audit-failed
    # The same by hand.
    run -1 timeout 60 qcauditctl hash --content "$STORE/golden/zlib.qcow2"
    [[ $output == *"the tables map the same clusters again and again"* ]]
    stop_daemon
}

@test "what is kept of an image's blocks is bounded by its own, and said" {
    # 4 GiB of one byte, in 5 MB: each cluster is compressed, and stored, for itself.
    python3 -B - "$STORE/golden.qcow2" <<'PY'
import struct, sys, zlib
bits, n = 16, 65536
cluster = 1 << bits
packer = zlib.compressobj(9, zlib.DEFLATED, -12)
data = packer.compress(b"\1" * cluster) + packer.flush()
tables = n * 8 // cluster
start = (4 + tables) * cluster
with open(sys.argv[1], "wb") as f:
    f.write(struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, bits, n * cluster, 0, tables, 3 * cluster, cluster, 1,
                        0, 0, 0, 0, 0, 4, 104))
    f.seek(cluster)
    f.write(struct.pack(">Q", 2 * cluster))
    f.seek(3 * cluster)
    f.write(struct.pack(">%dQ" % tables, *((4 + i) * cluster for i in range(tables))))
    f.seek(4 * cluster)
    for i in range(n):
        at = start + i * len(data)
        sectors = (at + len(data) - 1) // 512 - at // 512
        f.write(struct.pack(">Q", 1 << 62 | sectors << (62 - (bits - 8)) | at))
    f.write(data * n)
    f.truncate(-(-f.tell() // cluster) * cluster)
PY
    qemu-img check -q -r all "$STORE/golden.qcow2" || true
    qemu-img check -q "$STORE/golden.qcow2"
    [ "$(stat -c %s "$STORE/golden.qcow2")" -lt 8000000 ]
    write_config "golden: { patterns: ['*/golden.qcow2'], infer: no }" "scrub: { pressure: off }"
    start_daemon
    wait_for 120 is_verified "$STORE/golden.qcow2"
    grep -q "Cannot keep block digests" "$LOG"
    [ "$(du -sk "$STATE/blocks" | cut -f1)" -lt 1600 ]
    sound
    stop_daemon
}

@test "blocks do not take the last room of the state folder, and that is said" {
    need_root
    mount -t tmpfs -o size=64M,mode=700 tmpfs "$STATE"
    MOUNTED=$STATE
    head -c 62M /dev/zero >"$STATE/filler"
    random_image "$STORE/golden.qcow2" 8
    write_config "golden: { patterns: ['*/golden.qcow2'], infer: no }" "scrub: { pressure: off }"
    start_daemon
    wait_for 60 is_verified "$STORE/golden.qcow2"
    grep -q "Cannot keep block digests in .*: No space left on device" "$LOG"
    rm "$STATE/filler"
    make_image "$STORE/other.qcow2"
    write_config "golden: { patterns: ['*/other.qcow2'], infer: no }" "scrub: { pressure: off }"
    ctl reload
    wait_for 60 is_verified "$STORE/other.qcow2"
    [ "$(find "$STATE/blocks" -name '*.blocks' | wc -l)" = 1 ]
    stop_daemon
    umount "$STATE"
    MOUNTED=
}

@test "an image that takes long to read lets another one be read, and goes on where it was" {
    random_image "$STORE/large.qcow2" 64
    random_image "$STORE/small.qcow2" 2
    touch -d '1 hour ago' "$STORE"/*.qcow2
    write_config "golden: { patterns: ['*/large.qcow2'], infer: no }" "scrub: { pressure: off, budget: 2MiB/s }"
    sed -i 's/^intervals:$/&\n  delay: 3s/' "$CONFIG"
    start_daemon
    half_way() { [ "$(scrub_field done)" -gt 4000000 ]; }
    wait_for 30 half_way
    write_config "golden: { patterns: ['*/large.qcow2', '*/small.qcow2'], infer: no }" "scrub: { pressure: off, budget: 2MiB/s }"
    sed -i 's/^intervals:$/&\n  delay: 3s/' "$CONFIG"
    ctl reload
    wait_for 100 is_verified "$STORE/small.qcow2"
    run ! is_verified "$STORE/large.qcow2"
    again() { [ "$(scrub_field path)" = "$STORE/large.qcow2" ] && [ "$(scrub_field done)" -gt 4000000 ]; }
    wait_for 10 again
    wait_for 100 is_verified "$STORE/large.qcow2"
    sound
    stop_daemon
}

@test "a file that shrinks, grows, or is replaced while it is read: no verdict, and it is read again" {
    begin_golden 1MiB/s
    cp "$STORE/golden.qcow2" "$DIR/copy"
    truncate -s 8M "$STORE/golden.qcow2"
    interrupted() { is_scrubbing 0 || [ "$(scrub_field done)" = 0 ]; }
    wait_for 20 interrupted
    sound
    # Whole again, and longer.
    cat "$DIR/copy" >"$STORE/golden.qcow2"
    truncate -s +1M "$STORE/golden.qcow2"
    cp "$DIR/copy" "$DIR/other.qcow2"
    mv "$DIR/other.qcow2" "$STORE/golden.qcow2"
    write_config "golden: { patterns: ['*/golden.qcow2'], infer: no }" "scrub: { pressure: off }"
    ctl reload
    wait_for 60 is_verified "$STORE/golden.qcow2"
    sound
    stop_daemon
}

@test "an image that is being written is not read" {
    random_image "$STORE/a.qcow2" 8
    start_daemon
    scan
    coproc WRITER { exec qemu-io -f qcow2 "$STORE/a.qcow2" 3>&- 4>&- 2>&1; }
    wait_for 20 is_locked "$STORE/a.qcow2"
    scrub "$STORE/a.qcow2"
    [ "$(audit_of "$STORE/a.qcow2" use)" = writer ]
    [ "$(audit_of "$STORE/a.qcow2" bytes-read)" -lt 1000000 ]
    echo quit >&"${WRITER[1]}"
    wait "$WRITER_PID" || :
    stop_daemon
}

@test "scan --scrub wants to know which" {
    start_daemon
    run -1 ctl scan --scrub
    [[ $output == *"Which images"* ]]
    run -1 ctl scan --scrub /nowhere/at/all.qcow2
    stop_daemon
}
