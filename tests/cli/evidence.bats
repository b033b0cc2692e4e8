#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# qcauditctl evidence, and check --evidence: archives of an image's tables, without a daemon.
bats_require_minimum_version 1.5.0

setup() {
    command -v qemu-img >/dev/null || skip "qemu-img is not installed"
    cd "$BATS_TEST_TMPDIR"
    export QCAUDIT_LIBEXECDIR=$top_builddir/helpers QCAUDIT_SOCKET=$BATS_TEST_TMPDIR/no-daemon
    ctl=$top_builddir/ctl/qcauditctl
}

# tar_members CODE: rewrites x.tar to y.tar by python; `members` is a list of [name, data], CODE changes it, or `raw`.
retar() {
    python3 - "$1" <<'END'
import hashlib, io, sys, tarfile
top = "qcaudit-evidence/"
with tarfile.open("x.tar") as archive:
    members = [[m.name, archive.extractfile(m).read()] for m in archive.getmembers()]
kinds, links = {}, {}
def manifest():
    lines = "".join(f"{hashlib.sha256(d).hexdigest()}  {n[len(top):]}\n" for n, d in members[:-1])
    members[-1][1] = lines.encode()
def find(name):
    return next(m for m in members if m[0] == top + name)
exec(sys.argv[1])
with tarfile.open("y.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
    for name, data in members:
        info = tarfile.TarInfo(name)
        info.size, info.type, info.linkname = len(data), kinds.get(name, tarfile.REGTYPE), links.get(name, "")
        archive.addfile(info, io.BytesIO(data))
END
}

@test "all images: evidence says the same as their check, and nothing of them is written" {
    "$top_srcdir/tests/images/generate" . >/dev/null
    local image name expected
    stat -c '%n %Y %Z %s' -- *.qcow2 >before
    mkdir archives
    for image in *.qcow2; do
        # 1: not all tables could be found, and it says so
        run --separate-stderr "$ctl" evidence "$image" -o "archives/$image.tar"
        [ "$status" = 0 ] || { [ "$status" = 1 ] && [[ $output == *"NOT all tables of the image"* ]]; }
    done
    "$ctl" check --json=short *.qcow2 >images.json 2>check.err || :
    "$ctl" check --evidence --json=short archives/*.tar >archives.json 2>evidence.err || :
    python3 -B - <<'END'
import json
images = {row["filename"]: row for row in json.load(open("images.json"))}
archives = {row["archive"].removeprefix("archives/").removesuffix(".tar"): row for row in json.load(open("archives.json"))}
assert len(archives) > 200 and archives.keys() == images.keys(), archives.keys() ^ images.keys()
compared = 0
for name, row in archives.items():
    assert row["intact"], row
    if "again" not in row:
        continue
    assert row["same"] and row["whole"], (name, row)
    # What a check says with the parents and data files of an image is another question.
    if not name.startswith(("overlay-", "data-file-missing")):
        for key in ("opened", "error", "finished", "corruptions", "leaks", "check-errors"):
            assert row["again"].get(key) == images[name].get(key), (name, key, row["again"].get(key), images[name].get(key))
    compared += 1
assert compared > 200, compared
END
    # the exit status, too: clean, leaks, damage
    for name in cluster-128k leak-one l2-unaligned; do
        [ -e "$name.qcow2" ]
        expected=0
        "$ctl" check "$name.qcow2" >/dev/null 2>&1 || expected=$?
        run -"$expected" "$ctl" check --evidence "archives/$name.qcow2.tar"
        echo "$name $expected" >>statuses
    done
    [ "$(cut -d ' ' -f 2 statuses | sort -u | wc -l)" = 3 ]
    stat -c '%n %Y %Z %s' -- *.qcow2 | diff before -
}

@test "the archive is an ordinary one: tar and sha256sum read it, and no guest data is in it" {
    qemu-img create -q -f qcow2 base.qcow2 8M
    qemu-io -c 'write -P 0x41 0 8M' base.qcow2 >/dev/null
    qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2
    qemu-io -c 'write -P 0x42 1M 1M' top.qcow2 >/dev/null
    run -0 --separate-stderr "$ctl" evidence top.qcow2 -o x.tar
    [[ $output == *"2 layers"* ]]
    [ "$(stat -c %a x.tar)" = 600 ]
    tar -xf x.tar
    (cd qcaudit-evidence && sha256sum --quiet -c MANIFEST.sha256)
    [ "$(sha256sum <qcaudit-evidence/MANIFEST.sha256 | cut -d ' ' -f 1)" = "$(sed -n '/^SHA-256/{n;p}' <<<"$output")" ]
    grep -q 'No guest data' qcaudit-evidence/README
    run -1 grep -rlE 'A{16}|B{16}' qcaudit-evidence/layer-0 qcaudit-evidence/layer-1
    # Of the parent, the header's cluster alone.
    [ "$(ls qcaudit-evidence/layer-1)" = 0000000000000000 ]
    cmp -n 65536 qcaudit-evidence/layer-1/0000000000000000 base.qcow2
    python3 - <<'END'
import json
layers = json.load(open("qcaudit-evidence/layout.json"))["layers"]
assert [l["format"] for l in layers] == ["qcow2", "qcow2"], layers
assert layers[0]["whole"] and layers[0]["parent"] == "base.qcow2" and not layers[1]["whole"], layers
assert layers[0]["stat"]["size"] > 0 and layers[0]["stat"]["mode"].startswith("0"), layers
assert json.load(open("qcaudit-evidence/check.json"))["opened"]
assert {"qcauditctl", "kernel", "made", "database-schema"} <= set(json.load(open("qcaudit-evidence/versions.json")))
END
}

@test "keys are left out: a LUKS header is not in the archive" {
    qemu-img create -q --object secret,id=s,data=pass -f qcow2 -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 \
        luks.qcow2 1M || skip "this qemu-img has no LUKS"
    run -0 "$ctl" evidence luks.qcow2 -o x.tar
    run -1 grep -c 'LUKS.\{2\}' x.tar
    run -0 "$ctl" check --evidence x.tar
    [[ $output == *"The same as when"* ]]
}

@test "no key slot gets in by a damaged entry that points at it" {
    qemu-img create -q --object secret,id=s,data=pass -f qcow2 -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 \
        luks.qcow2 1M || skip "this qemu-img has no LUKS"
    python3 -B - luks.qcow2 <<'END'
import struct, sys
with open(sys.argv[1], "r+b") as image:
    header = image.read(4096)
    l1, = struct.unpack_from(">Q", header, 40)
    at, = struct.unpack_from(">I", header, 100)
    while True:
        kind, size = struct.unpack_from(">II", header, at)
        if kind == 0x0537be77:
            break
        assert kind, "no crypt header"
        at += 8 + (size + 7) // 8 * 8
    keys, = struct.unpack_from(">Q", header, at + 8)
    image.seek(l1)
    image.write(struct.pack(">Q", 1 << 63 | keys))
END
    run "$ctl" evidence luks.qcow2 -o x.tar
    [ -e x.tar ]
    run -1 grep -c 'LUKS.\{2\}' x.tar
    tar -tf x.tar | grep -q layer-0/
}

@test "a chain that loops, lacks a parent, or is unreadable ends where it does" {
    qemu-img create -q -f qcow2 a.qcow2 1M
    qemu-img create -q -f qcow2 -b a.qcow2 -F qcow2 b.qcow2
    qemu-img rebase -u -b b.qcow2 -F qcow2 a.qcow2
    run -0 --separate-stderr "$ctl" evidence b.qcow2 -o x.tar
    [[ $output == *"Layer 2, "*"b.qcow2: Too many levels of symbolic links"* ]]
    qemu-img rebase -u -b gone.qcow2 -F qcow2 a.qcow2
    run -0 --separate-stderr "$ctl" evidence b.qcow2 -o y.tar
    [[ $output == *"Layer 2, "*"gone.qcow2: No such file"* ]]
}

@test "a changed, doubled, lost or added member is named" {
    "$top_srcdir/tests/images/generate" . leak-run >/dev/null
    run -0 "$ctl" evidence leak-run.qcow2 -o x.tar
    # a byte in each member in turn
    retar 'for m in members[:-1]: print(m[0][len(top):])' >names
    local name n=0
    while read -r name; do
        retar "m = find('$name'); m[1] = bytes([m[1][0] ^ 1]) + m[1][1:]"
        run -1 "$ctl" check --evidence y.tar
        [[ $output == *"  $name is not what the manifest has"* ]]
        n=$((n + 1))
    done <names
    [ "$n" -ge 5 ]
    retar 'members.insert(0, list(find("README")))'
    run -1 "$ctl" check --evidence y.tar
    [[ $output == *"README is in the archive twice"* ]]
    retar 'members.remove(find("check.json"))'
    run -1 "$ctl" check --evidence y.tar
    [[ $output == *"check.json is in the manifest, and not in the archive"* ]]
    retar 'members.insert(0, [top + "more", b"x"])'
    run -1 "$ctl" check --evidence y.tar
    [[ $output == *"more is not in the manifest"* ]]
    run -1 "$ctl" check --evidence --json=short y.tar
    [ "$(jq -r '.problems[0] | .member + " " + .problem' <<<"$output")" = "more unlisted" ]
}

@test "tables that do not say what was found are told apart, though their manifest is right" {
    "$top_srcdir/tests/images/generate" . leak-run >/dev/null
    run -0 "$ctl" evidence leak-run.qcow2 -o x.tar
    run -3 "$ctl" check --evidence x.tar
    qemu-img check -q -r leaks leak-run.qcow2
    mv x.tar first.tar
    run -0 "$ctl" evidence leak-run.qcow2 -o x.tar
    tar -xf first.tar qcaudit-evidence/check.json
    retar 'find("check.json")[1] = open("qcaudit-evidence/check.json", "rb").read(); manifest()'
    run -1 "$ctl" check --evidence y.tar
    [[ $output == *"This is not what was found"* ]]
}

@test "hostile archives: paths, links, devices, sizes, offsets, and what is cut off" {
    "$top_srcdir/tests/images/generate" . leak-run >/dev/null
    run -0 "$ctl" evidence leak-run.qcow2 -o x.tar
    local code
    for code in 'find("README")[0] = "../README"' 'find("README")[0] = top + "../../README"' \
        'find("README")[0] = "/README"' 'find("README")[0] = "README"' 'find("README")[0] = top + ".README"' \
        'find("README")[0] = top + "a//b"' 'find("README")[0] = top + "a\nb"' \
        'kinds[top + "README"] = tarfile.SYMTYPE; links[top + "README"] = "/etc/passwd"; find("README")[1] = b""' \
        'kinds[top + "README"] = tarfile.LNKTYPE; links[top + "README"] = "x"; find("README")[1] = b""' \
        'kinds[top + "README"] = tarfile.CHRTYPE; find("README")[1] = b""' \
        'kinds[top + "README"] = tarfile.DIRTYPE; find("README")[1] = b""' \
        'members.pop()' 'members.append([top + "behind", b""])' 'members[-1][1] = b"no manifest"' \
        'members[-1][1] = members[-1][1] + b"\0\n"' \
        'find("layout.json")[1] = b"[]"; manifest()' 'find("layout.json")[1] = b"{}"; manifest()' \
        'find("layout.json")[1] = b"{\"layers\": 5}"; manifest()' 'find("check.json")[1] = b"{"; manifest()' \
        'find("layout.json")[1] = b"[" * 100000; manifest()' 'members.remove(find("versions.json")); manifest()' \
        'find("layer-0/0000000000000000")[0] = top + "layer-0/ffffffffffffff00"; manifest()' \
        'find("layer-0/0000000000000000")[0] = top + "layer-0/7fffffffffffff00"; manifest()' \
        'find("layer-0/0000000000000000")[0] = top + "layer-0/none"; manifest()'; do
        retar "$code"
        run --separate-stderr timeout 20 "$ctl" check --evidence y.tar
        echo "$code: $status $output $stderr"
        [ "$status" = 1 ]
        [[ $stderr == *"no archive of evidence"* || $stderr == *"ends before"* ]]
        [[ $output$stderr != *$'\n'b* ]]
    done
    # cut at every block, and within one
    local size at
    size=$(stat -c %s x.tar)
    for ((at = 0; at < size; at += 9999)); do
        head -c "$at" x.tar >y.tar
        run -1 --separate-stderr "$ctl" check --evidence y.tar
        [[ $stderr == *"no archive of evidence"* || $stderr == *"ends before it is complete"* ]]
    done
    # a size beyond all bounds
    python3 - <<'END'
data = bytearray(open("x.tar", "rb").read())
data[124:136] = b"77777777777\0"
data[148:156] = b"%06o\0 " % sum(data[:148] + b" " * 8 + data[156:512])
open("y.tar", "wb").write(data)
END
    run -1 --separate-stderr "$ctl" check --evidence y.tar
    [[ $stderr == *"no archive of evidence"* ]]
    run -1 --separate-stderr "$ctl" check --evidence leak-run.qcow2
    [[ $stderr == *"no archive of evidence"* ]]
    run -1 --separate-stderr "$ctl" check --evidence none.tar
    run -1 --separate-stderr "$ctl" check --evidence /
}

@test "a hostile name in the manifest, or of an image, reaches no terminal as it is" {
    "$top_srcdir/tests/images/generate" . leak-run >/dev/null
    mv leak-run.qcow2 $'a\e[31m\nb.qcow2'
    run -0 --separate-stderr "$ctl" evidence $'a\e[31m\nb.qcow2' -o x.tar
    [[ $output != *$'\e'* ]]
    run -3 "$ctl" check --evidence x.tar
    [[ $output != *$'\e'* ]]
    retar 'members[-1][1] = b"0" * 64 + b"  \x1b[31mx\xff\n" + members[-1][1]'
    run -1 "$ctl" check --evidence y.tar
    [[ $output != *$'\e'* ]]
    [[ $output == *'\x1b[31mx'* || $output == *'\033[31mx'* || $output == *'\e[31mx'* ]]
}

@test "the file is a new one, its folder not a link's surprise, and nothing stays of one that failed" {
    "$top_srcdir/tests/images/generate" . leak-run >/dev/null
    echo mine >there
    ln -s there link
    ln -s nowhere dangling
    for name in there link dangling .; do
        run -1 --separate-stderr "$ctl" evidence leak-run.qcow2 -o "$name"
        [[ $stderr == *"Cannot create"* ]]
    done
    [ "$(cat there)" = mine ]
    [ ! -e nowhere ]
    run -1 --separate-stderr "$ctl" evidence leak-run.qcow2 -o no-folder/x.tar
    run -1 --separate-stderr "$ctl" evidence leak-run.qcow2
    [[ $stderr == *"needs --out"* ]]
    run -1 --separate-stderr "$ctl" evidence gone.qcow2 -o x.tar
    [ ! -e x.tar ]
    run -1 --separate-stderr "$ctl" evidence . -o x.tar
    [ ! -e x.tar ]
    # more than a file may have
    run -1 --separate-stderr bash -c 'trap "" XFSZ; ulimit -f 4; "$0" evidence leak-run.qcow2 -o x.tar' "$ctl"
    [[ $stderr == *"Cannot write x.tar: File too large"* ]]
    [ ! -e x.tar ]
}

# names N: how the archives of the next N seconds are called in a folder.
names() {
    local i
    for ((i = 0; i < $1; i++)); do date -u -d "@$((EPOCHSECONDS + i))" +qcaudit-evidence-%Y%m%dT%H%M%SZ.tar; done
}

@test "in a folder each archive gets a name of its own: nothing is overwritten, and no link followed" {
    "$top_srcdir/tests/images/generate" . leak-run >/dev/null
    mkdir folder planted victim
    for i in 1 2 3; do run -0 --separate-stderr "$ctl" evidence leak-run.qcow2 -o folder/; done
    [[ $output =~ 'Check it: qcauditctl check --evidence '(folder/qcaudit-evidence-[0-9]{8}T[0-9]{6}Z(-[23])?.tar)$ ]]
    run -3 "$ctl" check --evidence "${BASH_REMATCH[1]}"
    [ "$(find folder -type f -perm 600 -links 1 -name '*.tar' | wc -l)" = 3 ]
    [ "$(ls -A folder | wc -l)" = 3 ]
    "$ctl" evidence leak-run.qcow2 -o folder/ --json=short >made.json
    [ -f "$(jq -r .file made.json)" ]
    # A stranger knows what the clock will say.
    echo mine >victim/file
    chmod 666 victim/file
    for name in $(names 120); do
        ln -s ../victim/file "planted/$name"
        ln -s ../victim/new "planted/${name%.tar}-2.tar"
        mkdir "planted/${name%.tar}-3.tar"
    done
    run -0 --separate-stderr "$ctl" evidence leak-run.qcow2 -o planted/
    [[ $output == *"planted/qcaudit-evidence-"*Z-4.tar ]]
    [ "$(cat victim/file)" = mine ]
    [ "$(ls -A victim)" = file ]
    [ "$(find planted -type f | wc -l)" = 1 ]
    # a folder is said to be one, and is one
    run -1 --separate-stderr "$ctl" evidence leak-run.qcow2 -o folder
    [[ $stderr == *"Cannot create folder: File exists"* ]]
    for name in victim/file/ none/ ''; do
        run -1 --separate-stderr "$ctl" evidence leak-run.qcow2 -o "$name"
        [[ $stderr == *"Cannot "* ]]
    done
}

@test "one that is killed leaves no half archive under the name" {
    qemu-img create -q -f qcow2 -o cluster_size=512 many.qcow2 4G
    qemu-io -f qcow2 -c 'write -q -z 0 1G' many.qcow2 >/dev/null
    "$ctl" evidence many.qcow2 -o x.tar >/dev/null 2>&1 3>&- &
    sleep 0.1
    kill -KILL $! || skip "it was too fast"
    wait $! || :
    [ ! -e x.tar ]
    run -0 "$ctl" evidence many.qcow2 -o x.tar
}

@test "a full disk leaves nothing behind" {
    [ "$(id -u)" = 0 ] || skip "needs root"
    "$top_srcdir/tests/images/generate" . leak-run >/dev/null
    mkdir small
    run unshare -m bash -c 'mount -t tmpfs -o size=8k none small || exit 77
        "$0" evidence leak-run.qcow2 -o small/x.tar; echo "status $?"; ls -A small' "$ctl"
    [ "$status" != 77 ] || skip "no tmpfs can be mounted"
    echo "$output"
    [[ $output == *"Cannot write small/x.tar: No space left on device"*"status 1" ]]
}

@test "to standard output, and not to a terminal" {
    "$top_srcdir/tests/images/generate" . leak-run >/dev/null
    "$ctl" evidence leak-run.qcow2 -o - >x.tar 2>said
    grep -q 'SHA-256 of its manifest' said
    run -3 "$ctl" check --evidence x.tar
    run -1 "$ctl" evidence leak-run.qcow2 -o - --json=short
    run script -qec "$ctl evidence leak-run.qcow2 -o -" /dev/null
    [[ $output == *"not for a terminal"* ]]
}

@test "more tables than are kept: those that issues name first, what is left out is said, and nothing false" {
    # 3 GiB of L2 tables by 2 MiB clusters, nearly all of it sparse
    python3 - <<'END'
import struct
bits, size = 21, 1 << 21
tables = 1500
blocks = 1
l1_at, table_at, block_at, first = 3 * size, size, 2 * size, 4 * size
end = first + tables * size
header = struct.pack(">IIQIIQIIQQIIQQQQII", 0x514649fb, 3, 0, 0, bits, tables * (size // 8) * size, 0, tables,
                     l1_at, table_at, 1, 0, 0, 0, 0, 0, 4, 104)
with open("huge.qcow2", "wb") as file:
    file.truncate(end)
    file.write(header)
    file.seek(table_at)
    file.write(struct.pack(">Q", block_at))
    file.seek(block_at)
    file.write(struct.pack(">H", 1) * (end // size))
    file.seek(l1_at)
    for i in range(tables):
        file.write(struct.pack(">Q", 1 << 63 | (first + i * size)))
    for i in range(tables):     # no holes
        file.seek(first + i * size + 8)
        file.write(struct.pack(">Q", 1))
    # an entry in the last table that points beyond the end
    file.seek(first + (tables - 1) * size)
    file.write(struct.pack(">Q", 1 << 63 | (end + size)))
END
    run -2 "$ctl" check huge.qcow2
    run -0 --separate-stderr "$ctl" evidence huge.qcow2 -o x.tar
    [[ $output == *"Left out for their size: 13"*" tables, 2."*"G."* ]]
    [ "$(stat -c %s x.tar)" -lt $((260 << 20)) ]
    # the named one is there
    tar -tf x.tar | grep -q "layer-0/$(printf %016x $(((4 + 1499) << 21)))"
    run -63 "$ctl" check --evidence x.tar
    [[ $output == *"Not all of its tables are kept"*"Of the 2"*"2 are found again"* ]]
}
