#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Scrubs: all data read again past the page cache, resumable, within window and budget, giving way to others.
load lib

setup() {
    need qemu-img qemu-io python3
    qcaudit_setup
    cat >"$DIR/fincore.py" <<'PY'
import ctypes, mmap, os, sys
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
def half(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    for at in range(0, os.fstat(fd).st_size, 4096):
        if at // 81920 % 2 == 0:
            os.pread(fd, 4096, at)
if sys.argv[1] == "half":
    half(sys.argv[2])
print(pages(sys.argv[2]))
PY
}
teardown() {
    if [ -n "${MOUNTED-}" ]; then
        stop_daemon || :
        umount -l "$MOUNTED" || :
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

scrub() { ctl scan --scrub --wait "$@" >/dev/null || [ $? = 2 ]; }

is_scrubbing() { # how many are under way
    [ "$(ctl status --json=short | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["scrubs"]))')" = "$1" ]
}
scrub_field() { # FIELD: of the first one under way
    ctl status --json=short | python3 -c 'import json, sys; print(json.load(sys.stdin)["scrubs"][0][sys.argv[1]])' "$1"
}

is_tmpfs() { [ "$(stat -f -c %T "$DIR")" = tmpfs ]; }

@test "a scrub reads everything past the page cache, and leaves the cache as it was" {
    is_tmpfs && skip "on tmpfs the page cache is the file"
    random_image "$STORE/a.qcow2" 12
    write_config "scrub: { pressure: off }"
    start_daemon
    scan
    run -0 audit_of "$STORE/a.qcow2" reading
    [ "$output" = "" ]
    [ "$(audit_of "$STORE/a.qcow2" bytes-read)" -lt 1000000 ]
    before=$(python3 -B "$DIR/fincore.py" half "$STORE/a.qcow2")
    case $before in *0*) ;; *) false ;; esac
    case $before in *1*) ;; *) false ;; esac
    scrub "$STORE/a.qcow2"
    [ "$(audit_of "$STORE/a.qcow2" reading)" = direct ]
    [ "$(audit_of "$STORE/a.qcow2" bytes-read)" -gt 12582912 ]
    [ "$(python3 -B "$DIR/fincore.py" look "$STORE/a.qcow2")" = "$before" ]
    run -0 ctl show "$STORE/a.qcow2"
    [[ $output == *"read, past the page cache"* ]]
    # Unchanged and not due: nothing is read.
    scan
    [ "$(audit_of "$STORE/a.qcow2" bytes-read)" -gt 12582912 ]
    stop_daemon
}

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
    before=$(python3 -B "$DIR/fincore.py" half "$STORE/a.qcow2")
    case $before in *0*) ;; *) false ;; esac
    case $before in *1*) ;; *) false ;; esac
    scrub "$STORE/a.qcow2"
    [ "$(audit_of "$STORE/a.qcow2" reading)" = uncached ]
    [ "$(audit_of "$STORE/a.qcow2" bytes-read)" -gt 12582912 ]
    [ "$(python3 -B "$DIR/fincore.py" look "$STORE/a.qcow2")" = "$before" ]
    run -0 ctl show "$STORE/a.qcow2"
    [[ $output == *"allows no O_DIRECT"* ]]
    stop_daemon
}

@test "a scrub keeps to its budget, shows how far it is, and ends when its image changes" {
    random_image "$STORE/a.qcow2" 8
    make_image "$STORE/b.qcow2"
    write_config "scrub: { pressure: off, budget: 1MiB/s }"
    start_daemon
    scan
    ctl scan --scrub "$STORE/a.qcow2" >/dev/null
    wait_for 10 is_scrubbing 1
    [ "$(scrub_field path)" = "$STORE/a.qcow2" ]
    half_way() { [ "$(scrub_field done)" -gt 1000000 ]; }
    wait_for 20 half_way
    [ "$(scrub_field total)" = 8388608 ]
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

@test "an image that is being written is not read" {
    random_image "$STORE/a.qcow2" 8
    start_daemon
    scan
    coproc WRITER { exec qemu-io -f qcow2 "$STORE/a.qcow2" 3>&- 4>&- 2>&1; }
    sleep 0.5
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
