# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# domains.bash - what the tests with real domains share: a private libvirtd, domains on images of the store, and remedies
# followed to the letter. `load domains` after `load lib`.

# domains_begin [MODE]: $URI, of a libvirtd that the daemon is not told of.
domains_begin() {
    need libvirtd virsh qemu-system-x86_64
    chmod 755 "$STORE"
    URI=$("$top_srcdir/tests/integration/libvirt-host" start "$DIR/lv" "${1:-session}" 3>&- 4>&-)
    # The daemon has no capability that would let it pass, as the socket's group does on a host.
    chmod 777 "$DIR"/lv/sock/*
}

domains_end() { [ -z "${URI-}" ] || "$top_srcdir/tests/integration/libvirt-host" stop "$DIR/lv"; }

# domains_setup [LINE...]: $URI, and a daemon's configuration that asks it, with these further lines.
domains_setup() {
    need qemu-img qemu-io python3
    qcaudit_setup
    domains_begin
    LIBVIRT="{uris: [\"$URI\"], poll: 1s}"
    write_config "$@"
    [ "$(id -u)" != 0 ] || chown nobody "$STORE"
}

domains_teardown() {
    domains_end
    qcaudit_teardown
}

v() { virsh -q -c "$URI" "$@" </dev/null 3>&- 4>&-; }

own() { [ "$(id -u)" != 0 ] || chown nobody "$@"; }       # as libvirt would

# disk_xml PATH [TARGET [FORMAT [EXTRA]]]
disk_xml() {
    echo "<disk type='file' device='disk'><driver name='qemu' type='${3:-qcow2}' discard='unmap'/><source file='$1'/><target dev='${2:-vda}' bus='virtio'/>${4-}</disk>"
}

# define NAME DISK_XML...: a domain of that name; MEMORY (MiB) is 32.
define() {
    local name=$1
    shift
    {
        echo "<domain type='qemu'><name>$name</name><memory unit='MiB'>${MEMORY:-32}</memory>"
        echo "<os><type arch='x86_64' machine='pc'>hvm</type></os><devices>"
        echo "<emulator>/usr/bin/qemu-system-x86_64</emulator>"
        printf '%s\n' "$@"
        echo "<controller type='usb' model='none'/><memballoon model='none'/><serial type='null'/></devices></domain>"
    } >"$DIR/$name.xml"
    v define "$DIR/$name.xml"
}

start() { v start --paused "$1"; }

# guest_write DOMAIN TARGET COMMAND: qemu-io's command on the device within the running domain, as its guest would.
guest_write() {
    local said device
    device=$(v qemu-monitor-command "$1" '{"execute": "query-block"}' | python3 -c '
import json, sys
for device in json.load(sys.stdin)["return"]:
    if "/virtio-disk%d/" % (ord(sys.argv[1][-1]) - ord("a")) in device["qdev"]: print(device["qdev"])' "$2")
    [ -n "$device" ] || { echo "$1 has no disk $2"; return 1; }
    said=$(v qemu-monitor-command "$1" --hmp "qemu-io -d $device \"$3\"")
    # It says nothing when all is well.
    [ -z "$said" ] || { echo "$said"; return 1; }
}

# holds PATTERN OFFSET LENGTH IMAGE: what a guest would read there.
holds() {
    ! qemu-io -f qcow2 -r -c "read -P $1 $2 $3" "$4" 2>&1 | grep -iE 'failed|error|not open' || return 1
}

# snapshot DOMAIN NAME: an external one of all disks.
snapshot() { v snapshot-create-as "$1" "$2" --disk-only --atomic >/dev/null; }

# finding NAME SUBJECT: its id. SUBJECT is below the store, or a domain's name.
finding() {
    ctl findings --name="$1" --json=short | STORE="$STORE" URI="$URI" python3 -c '
import json, os, sys
for row in json.load(sys.stdin):
    subject = row.get("path") or row["subject"]
    if subject in (os.environ["STORE"] + "/" + sys.argv[1], sys.argv[1] + " on " + os.environ["URI"], sys.argv[1]):
        print(row["id"]); break
else: sys.exit("no such finding")' "$2"
}

commands() { # ID: the remedy's commands, one per line
    ctl show "$1" --json=short | python3 -c '
import json, sys
for step in json.load(sys.stdin).get("remedy", []):
    if "command" in step: print(step["command"])'
}

steps() { # ID: all that the remedy says, one step per line, as it is not yet broken into lines
    ctl show "$1" --json=short | python3 -c '
import json, sys
for step in json.load(sys.stdin).get("remedy", []): print(*step.values())'
}

has_commands() { commands "$1" >"$DIR/remedy.sh" && [ -s "$DIR/remedy.sh" ]; }

# remedy NAME SUBJECT: runs what is printed, to the letter. A layer that has just come may not have been audited yet.
remedy() {
    local id
    id=$(finding "$1" "$2") || return
    wait_for 20 has_commands "$id" || { echo "no command for $1 of $2"; ctl show "$id"; return 1; }
    cat "$DIR/remedy.sh"
    as_virsh sh -e "$DIR/remedy.sh" </dev/null 3>&- 4>&-
}

# Commands in remedies name the connection, so nothing has to be set for them; files stay those of the guests' user.
as_virsh() {
    if [ "$(id -u)" = 0 ]; then
        chown nobody "$DIR/remedy.sh"
        "$@" && own "$STORE"/* 2>/dev/null
    else
        "$@"
    fi
}

evidence() { ctl show "$1" --json=short | python3 -c 'import json, sys; print(json.load(sys.stdin)["evidence"].get(sys.argv[1]))' "$2"; }

resolved() { has_no_finding "$1"; }       # "NAME", as wait_for wants it

# Nothing false is left, and no other finding took the place of the one that was resolved.
nothing_left() { same "" "$(findings)"; }
