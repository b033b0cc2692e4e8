#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# What is made from the tables and installed: units, catalogue, manuals.
bats_require_minimum_version 1.5.0

need() { command -v "$1" >/dev/null || skip "$1 is not installed"; }

@test "systemd has nothing to say against the units" {
    need systemd-analyze
    mkdir -p "$BATS_TEST_TMPDIR/units"
    sed -E 's#^Exec(Start|Reload)=.*qcauditd#Exec\1=/bin/true#' "$top_builddir/systemd/qcauditd.service" \
        >"$BATS_TEST_TMPDIR/units/qcauditd.service"
    sed -E 's#^ExecStart=.*qcaudit-notify#ExecStart=/bin/true#' "$top_builddir/systemd/qcaudit-notify@.service" \
        >"$BATS_TEST_TMPDIR/units/qcaudit-notify@.service"
    cp "$top_srcdir/systemd/qcauditd.socket" "$top_srcdir/systemd/qcaudit-notify.socket" "$BATS_TEST_TMPDIR/units"
    grep -q '^ExecStart=/.*/qcauditd$' "$top_builddir/systemd/qcauditd.service"
    grep -q '^ExecStart=/.*/qcaudit-notify$' "$top_builddir/systemd/qcaudit-notify@.service"
    run -0 systemd-analyze verify --man=no "$BATS_TEST_TMPDIR"/units/qcauditd.{service,socket} \
        "$BATS_TEST_TMPDIR"/units/qcaudit-notify.socket "$BATS_TEST_TMPDIR"/units/qcaudit-notify@.service
    [ -z "$output" ]
}

@test "the service user can be made" {
    need systemd-sysusers
    mkdir -p "$BATS_TEST_TMPDIR/root/etc"
    run -0 systemd-sysusers --root="$BATS_TEST_TMPDIR/root" "$top_srcdir/systemd/qcaudit.sysusers.conf"
    grep -q '^qcaudit:' "$BATS_TEST_TMPDIR/root/etc/passwd"
    grep -q '^qcaudit-notify:' "$BATS_TEST_TMPDIR/root/etc/passwd"
}

@test "every finding, the summary, the test and the end of the record are in the journal catalogue, each once" {
    need journalctl
    root=$BATS_TEST_TMPDIR/root
    mkdir -p "$root/usr/lib/systemd/catalog" "$root/var/lib/systemd/catalog"
    cp "$top_builddir/systemd/qcaudit.catalog" "$root/usr/lib/systemd/catalog"
    run -0 journalctl --update-catalog --root="$root"
    findings=$(grep -c '^FINDING(' "$top_srcdir/include/qcaudit/findings.def")
    ids=$(sed -n 's/^-- //p' "$top_builddir/systemd/qcaudit.catalog" | grep -cE '^[0-9a-f]{32}$')
    [ "$ids" = $((findings + 3)) ]
    [ "$(journalctl --list-catalog --root="$root" | sort -u | wc -l)" = "$ids" ]
    [ -z "$(journalctl --list-catalog --root="$root" | cut -c1-32 | sort | uniq -d)" ]
    awk 'length > 80 && !/^Subject/ {print; bad = 1} END {exit bad}' "$top_builddir/systemd/qcaudit.catalog"
}

@test "no address is made up: what the packager does not say is not said" {
    local files=("$top_srcdir"/{README.md,INSTALL,NEWS,SECURITY,HACKING,configure.ac,qcaudit.spec,man/qcauditctl.1})
    [ ! -e "$top_srcdir/debian/control" ] || files+=("$top_srcdir"/debian/{control,changelog,copyright,rules,watch,upstream/metadata})
    run -1 grep -nE 'qcaudit\.(example|org|com|net|io)\b|[.@]example\b|(Homepage|URL):' "${files[@]}" "$top_builddir/systemd/qcaudit.catalog"
    grep -q '^Contact: ' "$top_srcdir/SECURITY"
}

@test "the contact that the packager names gets into SECURITY" {
    local contact='The packager <security@host.test>'
    cd "$BATS_TEST_TMPDIR"
    make -s -f "$top_builddir/Makefile" VPATH="$top_srcdir" srcdir="$top_srcdir" top_builddir="$top_builddir" SECURITY_CONTACT="$contact" packaged/SECURITY
    grep -qxF "Contact: $contact" packaged/SECURITY
    diff <(grep -v '^Contact: ' packaged/SECURITY) <(grep -v '^Contact: ' "$top_srcdir/SECURITY")
    rm packaged/SECURITY
    make -s -f "$top_builddir/Makefile" VPATH="$top_srcdir" srcdir="$top_srcdir" top_builddir="$top_builddir" SECURITY_CONTACT= packaged/SECURITY
    diff packaged/SECURITY "$top_srcdir/SECURITY"
    "$top_srcdir/configure" --help | grep -q -- --with-security-contact=TEXT
}

@test "libqcaudit(3) names every function, its example compiles and does what it says, and versions agree" {
    local page=$top_srcdir/man/libqcaudit.3 name missing=0
    while read -r name; do
        grep -qE "^\.(It )?Fn .*\b$name\b|, Fn $name\b" "$page" || { echo "$name is not in $page"; missing=1; }
    done < <(sed -n 's/^ *\(qca_[a-z0-9_]*\);$/\1/p' "$top_srcdir/lib/libqcaudit.sym")
    [ "$missing" = 0 ]
    cd "$BATS_TEST_TMPDIR"
    sed -n '/^\.Bd -literal$/,/^\.Ed$/{//!p}' "$page" | sed 's/\\e/\\/g' >example.c
    [ "$(wc -l <example.c)" -gt 30 ]
    ${CC:-cc} -Wall -Wextra -Werror -o example example.c -I"$top_srcdir/include" -L"$top_builddir/lib/.libs" -lqcaudit
    printf '#include <stdio.h>\n#include <qcaudit/qcaudit.h>\n#if QCA_VERSION != QCA_VERSION_MAJOR * 1000 + QCA_VERSION_MINOR\n#error version\n#endif\nint main(void) { printf("%%d.%%d %%d\\n", QCA_VERSION_MAJOR, QCA_VERSION_MINOR, qca_version() == QCA_VERSION); return 0; }\n' >version.c
    ${CC:-cc} -Wall -Wextra -Werror -o version version.c -I"$top_srcdir/include" -L"$top_builddir/lib/.libs" -lqcaudit
    export LD_LIBRARY_PATH=$top_builddir/lib/.libs
    [ "$(./version)" = "$(sed -n 's/^AC_INIT(\[qcaudit\], \[\([^]]*\)\].*/\1/p' "$top_srcdir/configure.ac") 1" ]
    need qemu-io
    qemu-img create -q -f qcow2 a.qcow2 64M
    qemu-io -f qcow2 -c 'write -q -P 1 0 32M' a.qcow2
    run -0 ./example a.qcow2
    [ "$output" = "0 corruptions, 0 leaks" ]
    truncate -s 2M a.qcow2
    run -2 ./example a.qcow2
    [[ $output == *"out-of-file, "*" times: bytes "*" to 33554432"* ]]
    run -1 ./example /dev/null/none
}

@test "README is README.md, and its links lead somewhere" {
    local file n=0
    cmp "$top_srcdir/README" "$top_srcdir/README.md"
    while read -r file; do
        [ -e "$top_srcdir/$file" ] || { echo "$file"; return 1; }
        n=$((n + 1))
    done < <(grep -oE '\]\([^)]+\)' "$top_srcdir/README.md" | tr -d '()]')
    [ "$n" -ge 5 ]
}

@test "what INSTALL says is needed to build is what configure asks for" {
    local module
    grep -oE 'PKG_CHECK_MODULES\(\[[A-Z]+\], \[[^]]*' "$top_srcdir/configure.ac" | sed 's/.*\[//; s/-[0-9.]* *$//; s/ >=.*//; s/-[0-9.]*$//' |
        grep -vxE 'cmocka|fuse3' >"$BATS_TEST_TMPDIR/modules"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/modules")" -ge 11 ]
    while read -r module; do
        sed -n '/^Needed to build/,/^Install/p' "$top_srcdir/INSTALL" | grep -qiE "\b(lib)?$module[0-9]*\b" || { echo "$module"; return 1; }
    done <"$BATS_TEST_TMPDIR/modules"
}

@test "the packages declare what configure asks for, and whose macros the spec uses" {
    local spec=$top_srcdir/qcaudit.spec module
    [ -e "$spec" ] || skip "a tree without the spec"
    grep -oE 'PKG_CHECK_MODULES\(\[[A-Z]+\], \[[^]]*' "$top_srcdir/configure.ac" | sed 's/.*\[//; s/ >=.*//' >"$BATS_TEST_TMPDIR/modules"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/modules")" -ge 13 ]
    while read -r module; do
        # A file system that hangs is this machine's test alone.
        grep -qE "^BuildRequires: +pkgconfig\($module\)" "$spec" || [ "$module" = fuse3 ] || { echo "$module"; return 1; }
    done <"$BATS_TEST_TMPDIR/modules"
    grep -q '^%systemd_post ' "$spec"
    grep -qE '^BuildRequires: +systemd-rpm-macros$' "$spec"
}

@test "a program is linked with the library where no other library's headers are" {
    need pkg-config
    run -0 env PKG_CONFIG_PATH= PKG_CONFIG_LIBDIR="$top_builddir/lib" pkg-config --cflags --libs libqcaudit
    [[ $output == *" -lqcaudit"* && $output != *" -lz"* ]]
    run -0 env PKG_CONFIG_PATH= PKG_CONFIG_LIBDIR="$top_builddir/lib" pkg-config --static --libs libqcaudit
    [[ $output == *" -lqcaudit"*" -lz "*" -lcrypto"* ]]
}

@test "the D-Bus policy is well-formed" {
    need python3
    python3 -B -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' "$top_srcdir/systemd/org.qcaudit.Auditor1.conf"
}

manual() { MANWIDTH=78 LC_ALL=C.UTF-8 man --warnings=w -l "$1" | col -bx; }       # as people read it

@test "the daemon's manuals have no fault" {
    need man
    for page in "$top_srcdir/man/qcauditd.8" "$top_srcdir/man/qcaudit-families.5" "$top_builddir/man/qcauditd.yaml.5" "$top_builddir/man/qcaudit-findings.7"; do
        manual "$page" >/dev/null 2>"$BATS_TEST_TMPDIR/faults"
        diff /dev/null "$BATS_TEST_TMPDIR/faults"
    done
    command -v mandoc >/dev/null || skip "mandoc is not installed"
    run mandoc -T lint -W warning "$top_srcdir/man/libqcaudit.3" "$top_srcdir/man/qcauditd.8" "$top_builddir/man/qcauditd.yaml.5" "$top_builddir/man/qcaudit-findings.7"
    [ -z "$(grep -v 'outdated mandoc.db' <<<"$output")" ]
}

@test "every key is in the manual" {
    need man
    manual "$top_builddir/man/qcauditd.yaml.5" >"$BATS_TEST_TMPDIR/manual"
    sed -n 's/^KEY("\([^"]*\)".*/\1/p' "$top_srcdir/daemon/config/keys.def" >"$BATS_TEST_TMPDIR/keys"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/keys")" -gt 30 ]
    while read -r key; do
        grep -qF -- " ${key/\*/FINDING}: " "$BATS_TEST_TMPDIR/manual" || { echo "$key"; return 1; }
    done <"$BATS_TEST_TMPDIR/keys"
}

@test "org.qcaudit.Auditor1(5) has every method, signal and property with its arguments, and no other" {
    local page=$top_srcdir/man/org.qcaudit.Auditor1.5
    "$top_builddir/daemon/document" interface >"$BATS_TEST_TMPDIR/interface"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/interface")" -ge 50 ]
    # each row of the table is there, and each error
    grep -oE '^(QUESTION|METHOD)\("[A-Za-z]+' "$top_srcdir/daemon/control/methods.def" | sed 's/.*"//' | while read -r method; do
        grep -qE "^\.It Fn $method( |\$)" "$BATS_TEST_TMPDIR/interface" || { echo "$method"; return 1; }
    done
    diff <(sort "$BATS_TEST_TMPDIR/interface") <(grep -E '^\.It (Fn|Va) ' "$page" | sort)
    sed -n 's/^#define CONTROL_ERROR_.* "\(.*\)"$/\1/p' "$top_srcdir/include/qcaudit/control.h" | while read -r error; do
        grep -qxF ".It Li $error" "$page" || { echo "$error"; return 1; }
    done
    need man
    MANWIDTH=78 LC_ALL=C.UTF-8 man --warnings=w -l "$page" >"$BATS_TEST_TMPDIR/page" 2>"$BATS_TEST_TMPDIR/faults"
    diff /dev/null "$BATS_TEST_TMPDIR/faults"
    grep -qF 'ListImages(a{sv} filter, s cursor, u limit) → aa{sv} images, s next' "$BATS_TEST_TMPDIR/page"
    command -v mandoc >/dev/null || skip "mandoc is not installed"
    run mandoc -T lint -W warning "$page"
    [ -z "$(grep -v 'outdated mandoc.db' <<<"$output")" ]
}

@test "every finding is in the manual, with its texts" {
    need man python3
    manual "$top_builddir/man/qcaudit-findings.7" >"$BATS_TEST_TMPDIR/manual"
    qcauditctl explain --json=short >"$BATS_TEST_TMPDIR/catalogue"
    python3 -B -c '
import json, sys
# without the dashes: lines are broken at them, and words with them
def words(text): return "".join(text.split()).replace("\u2010", "").replace("\u2212", "").replace("-", "").replace("\u2019", chr(39))
manual = words(open(sys.argv[1]).read())
rows = json.load(open(sys.argv[2]))
assert len(rows) > 50, len(rows)
for row in rows:
    for key in ("name", "title", "explanation", "remedy"):
        assert words(row[key]) in manual, (row["name"], key)' "$BATS_TEST_TMPDIR/manual" "$BATS_TEST_TMPDIR/catalogue"
}

@test "qcauditd: --help, the manual and the completion name the same options" {
    need man
    qcauditd --help | grep -oE -- '--[a-z-]+' | sort -u >"$BATS_TEST_TMPDIR/help"
    manual "$top_srcdir/man/qcauditd.8" | awk "/^[A-Z]/ {inside = /^OPTIONS/} inside" |
        grep -oE -- '^ +(-[a-z], )?--[a-z-]+' | grep -oE -- '--[a-z-]+' | sort -u >"$BATS_TEST_TMPDIR/manual"
    (
        # shellcheck source=/dev/null
        . "$top_srcdir/completions/qcauditd"
        compopt() { :; }
        COMP_WORDS=(qcauditd --) COMP_CWORD=1
        _qcauditd
        printf '%s\n' "${COMPREPLY[@]}"
    ) | sort -u >"$BATS_TEST_TMPDIR/completion"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/help")" -ge 8 ]
    diff "$BATS_TEST_TMPDIR/help" "$BATS_TEST_TMPDIR/manual"
    diff "$BATS_TEST_TMPDIR/help" "$BATS_TEST_TMPDIR/completion"
}

@test "qcauditd: the completion offers the values of an option" {
    # shellcheck source=/dev/null
    . "$top_srcdir/completions/qcauditd"
    COMP_WORDS=(qcauditd --log-target c) COMP_CWORD=2
    _qcauditd
    [ "${COMPREPLY[*]}" = console ]
}

@test "what the package's build calls is there" {
    local target
    [ -e "$top_srcdir/debian/rules" ] || skip "a release has no debian/"
    target=$(sed -n 's/.*\$(MAKE) -C tests \([a-z-]*\)$/\1/p' "$top_srcdir/debian/rules")
    [ -n "$target" ]
    grep -q "^$target:" "$top_builddir/tests/Makefile"
}

@test "the unit is closed: systemd's own measure of it" {
    need systemd-analyze
    run systemd-analyze security --offline=true --threshold=12 --no-pager "$top_builddir/systemd/qcauditd.service"
    grep -v '✓' <<<"$output"
    [ "$status" = 0 ]
    # The filter's traps: what workers and libvirt's libraries need is not taken out again.
    run -0 systemd-analyze security --offline=true --no-pager "$top_builddir/systemd/qcauditd.service"
    for line in 'SystemCallFilter=~@mount' 'PrivateNetwork' 'PrivateDevices' 'PrivateTmp' 'ProtectHostname'; do
        grep -q "✓ $line" <<<"$output" || { echo "$line"; return 1; }
    done
}

@test "the unit has limits: of memory, of files, and of starts that follow one another" {
    local unit=$top_builddir/systemd/qcauditd.service interval=30 burst rest
    high=$(sed -n 's/^MemoryHigh=\([0-9]*\)M$/\1/p' "$unit") max=$(sed -n 's/^MemoryMax=\([0-9]*\)G$/\1/p' "$unit")
    [ "$high" -gt 2048 ]                        # workers.count times workers.memory, as they are by default
    [ "$high" -lt $((max * 1024)) ]
    [ "$(sed -n 's/^LimitNOFILE=//p' "$unit")" -ge 4096 ]       # a chain that is opened as a whole
    grep -qx "StartLimitIntervalSec=${interval}min" "$unit"
    burst=$(sed -n 's/^StartLimitBurst=//p' "$unit") rest=$(sed -n 's/^RestartSec=//p' "$unit")
    # One that ends a minute after each of its starts reaches it.
    [ $((burst * (rest + 60))) -lt $((interval * 60)) ]
}

@test "the drop-ins that are examples are right" {
    need systemd-analyze
    local example
    for example in "$top_srcdir"/systemd/examples/*.conf; do
        rm -rf "$BATS_TEST_TMPDIR/units"
        mkdir -p "$BATS_TEST_TMPDIR/units/qcauditd.service.d"
        sed -E 's#^Exec(Start|Reload)=.*qcauditd#Exec\1=/bin/true#' "$top_builddir/systemd/qcauditd.service" \
            >"$BATS_TEST_TMPDIR/units/qcauditd.service"
        sed -E 's#^ExecStart=.*qcaudit-notify#ExecStart=/bin/true#' "$top_builddir/systemd/qcaudit-notify@.service" \
            >"$BATS_TEST_TMPDIR/units/qcaudit-notify@.service"
        cp "$top_srcdir/systemd/qcauditd.socket" "$top_srcdir/systemd/qcaudit-notify.socket" "$BATS_TEST_TMPDIR/units"
        cp "$example" "$BATS_TEST_TMPDIR/units/qcauditd.service.d/"
        run -0 systemd-analyze verify --man=no "$BATS_TEST_TMPDIR"/units/qcauditd.{service,socket}
        [ -z "$output" ] || { echo "$example: $output"; return 1; }
        tr -d '\\' <"$top_srcdir/man/qcauditd.8" | grep -qF "${example##*/}" || { echo "${example##*/}: not in the manual"; return 1; }
    done
}

@test "AppArmor takes the profile, with the helpers' below it" {
    need apparmor_parser
    run -0 apparmor_parser -Q -K "$top_builddir/conf/apparmor/usr.sbin.qcauditd"
    run -0 --separate-stderr apparmor_parser -Q -K -N "$top_builddir/conf/apparmor/usr.sbin.qcauditd"
    [ "$output" = "$(printf '%s\n' qcauditd qcauditd//files qcauditd//worker)" ]
    grep -q '^profile qcauditd /.*/qcauditd ' "$top_builddir/conf/apparmor/usr.sbin.qcauditd"
    # enforced, as it is shipped
    run -1 grep -E 'flags=.*(complain|unconfined)' "$top_builddir/conf/apparmor/usr.sbin.qcauditd"
}
