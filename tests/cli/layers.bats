#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The floors of the house: who may include whom, and what the library must not do.
bats_require_minimum_version 1.5.0

cd "${top_srcdir:?set by make check}" || exit 1

# forbidden PATTERN FILE...: no line of these files may match; comments are not looked at.
forbidden() {
    local pattern=$1 found
    shift
    found=$(grep -nE "$pattern" "$@" /dev/null | grep -vE '^[^:]+:[0-9]+: *(/?\*|//)' || :)
    [ -z "$found" ] || { echo "$found"; return 1; }
}

# includes FILE...: what they include of the project, "FILE INCLUDED" per line, relative to the top.
includes() {
    local file name
    for file in "$@"; do
        [ -e "$file" ] || continue
        while read -r name; do
            if [ -e "${file%/*}/$name" ]; then echo "$file ${file%/*}/$name"; else echo "$file $name"; fi
        done < <(sed -n 's/^ *# *include *"\([^"]*\)".*/\1/p' "$file")
    done
}

@test "the library stands on its own headers alone" {
    includes lib/*.[ch] lib/generated/*.c | awk '$2 !~ /^(lib|qcaudit)\// && $2 != "build-config.h" || $2 == "qcaudit/control.h" {print; bad = 1} END {exit bad}'
}

@test "the helpers include the library, never the daemon or the command" {
    includes helpers/*.[ch] | awk '$2 !~ /^(lib|helpers|qcaudit)\// && $2 != "build-config.h" {print; bad = 1} END {exit bad}'
}

@test "the names of what images are include helpers and library, never the daemon or the command" {
    includes provenance/*.[ch] | awk '$2 !~ /^(lib|helpers|provenance|qcaudit)\// && $2 != "build-config.h" {print; bad = 1} END {exit bad}'
}

@test "daemon and command never include each other" {
    includes daemon/*.[ch] daemon/*/*.[ch] | awk '$2 ~ /^ctl\// {print; bad = 1} END {exit bad}'
    includes ctl/*.[ch] | awk '$2 ~ /^daemon\// {print; bad = 1} END {exit bad}'
}

# rooms: includes between folders of the daemon, "FROM TO FILE INCLUDED" per line; "." is daemon/ itself.
rooms() {
    includes daemon/*.[ch] daemon/*/*.[ch] | awk '
        function folder(path) { return split(path, part, "/") == 3 ? part[2] : "." }
        $2 ~ /^daemon\// && folder($1) != folder($2) { print folder($1), folder($2), $1, $2 }'
}

@test "a folder of the daemon includes what lies below it alone" {
    rooms | awk '
        BEGIN {
            # Bottom up. As all go down, there is no circle.
            n = split("core config virt discover schedule audit relate contents judge remedy store control tell manager .", list)
            for (i = 1; i <= n; i++) floor[list[i]] = i
        }
        !floor[$1] || !floor[$2] { print $3 " includes " $4 ": no floor is known"; bad = 1 }
        floor[$2] > floor[$1] { print $3 " includes " $4; bad = 1 }
        { n_seen++ }
        END { exit bad || n_seen < 30 }'
}

@test "each folder of the daemon has one door; the words of core are everybody's" {
    rooms | awk '
        $2 != "core" && $4 != "daemon/" $2 "/" $2 ".h" { print $3 " includes " $4; bad = 1 }
        $2 == "core" && $4 ~ /internal\.h$/ { print $3 " includes " $4; bad = 1 }
        END { exit bad }'
}

# tags FILE...: the tags of structs, enums and unions that are defined there, one per line.
tags() {
    sed -nE 's/^(static |const |typedef )*((struct|enum|union) [a-z_0-9]+)( \{.*)?$/\2/p' "$@"
}

@test "a tag is defined once in the daemon" {
    # What is looked for is found: in one line, and with a qualifier before it.
    printf '%s\n' 'struct one { int a; };' 'static const struct two {' 'enum three {' 'struct four one;' >"$BATS_TEST_TMPDIR/sample.h"
    [ "$(tags "$BATS_TEST_TMPDIR/sample.h" | tr '\n' ' ')" = "struct one struct two enum three " ]
    tags daemon/*.[ch] daemon/*/*.[ch] >"$BATS_TEST_TMPDIR/tags"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/tags")" -gt 300 ]
    sort "$BATS_TEST_TMPDIR/tags" | uniq -d >"$BATS_TEST_TMPDIR/doubled"
    cat "$BATS_TEST_TMPDIR/doubled"
    [ ! -s "$BATS_TEST_TMPDIR/doubled" ]
}

@test "the library prints nothing, logs nothing, opens nothing, reads no clock" {
    forbidden '(^|[^>._[:alnum:]])(printf|fprintf|puts|fputs|putchar|perror|syslog|sd_journal_[a-z]+|warn|err|warnx|errx)\(' lib/*.c lib/generated/*.c
    forbidden '(^|[^>._[:alnum:]])(open|openat|fopen|freopen|creat|opendir|readlink|realpath|stat|lstat|access|socket|connect|execve?|system|popen|fork)\(' lib/*.c lib/generated/*.c
    forbidden '(^|[^>._[:alnum:]])(time|gettimeofday|clock_gettime|getenv|secure_getenv|setlocale)\(' lib/*.c lib/generated/*.c
    forbidden '<(systemd|libvirt|sqlite3|syslog|json-c)' lib/*.[ch] lib/generated/*.c include/qcaudit/qcaudit.h
}

@test "no struct of the installed header is sized by an enumeration, which grows" {
    forbidden '\[ *_QCA_' include/qcaudit/qcaudit.h
}

@test "the library keeps no global state" {
    forbidden '^(static +)?(_Thread_local +|unsigned +|struct +[a-z_]+ +|u?int[0-9]+_t +|bool +|char +|int +|size_t +|void +)\**[a-z_0-9]+(\[[^]]*\])*( *=[^(]*)?;' lib/*.c lib/generated/*.c
}

@test "a format is named by its own files alone: all others ask the table, or for a trait" {
    # Raw is what has no format.
    local others
    mapfile -t others < <(grep -LE '^const struct format format_' lib/*.c)
    [ "${#others[@]}" -gt 30 ]
    grep -noE '(^|[^_[:alnum:]])QCA_FORMAT_[A-Z0-9]+' lib/*.h helpers/*.[ch] provenance/*.[ch] ctl/*.[ch] daemon/*.[ch] daemon/*/*.[ch] "${others[@]}" |
        grep -vE 'QCA_FORMAT_(RAW|UNKNOWN)$' >"$BATS_TEST_TMPDIR/named" || :
    cat "$BATS_TEST_TMPDIR/named"
    [ ! -s "$BATS_TEST_TMPDIR/named" ]
    # What is qcow2's own is not reached around the table.
    includes lib/*.[ch] | awk '$2 ~ /qcow2[a-z-]*\.h$/ && $1 !~ /^lib\/(qcow2[a-z-]*|l2-runs|luks|table-reader)\.[ch]$/ {print; bad = 1} END {exit bad}'
}

@test "each member of evidence is one that the judge makes, and is made by its row" {
    local prefix id n=0
    while IFS='(,' read -r prefix id _; do
        n=$((n + 1))
        prefix=${prefix#EVIDENCE_}
        grep -qE "\\b${prefix/ENTRY/TEXT}_$id\\b" daemon/judge/*.c || [[ " INDEX TABLE_OFFSET SNAPSHOT HOST_OFFSET HOST_LENGTH GUEST_OFFSET GUEST_LENGTH STORED COUNTED COUNT KIND TABLE " == *" $id "* ]] || { echo "$prefix $id is not made"; return 1; }
    done < <(grep -E '^EVIDENCE_(NUMBER|TEXT|ENTRY|FLAG|PART)\(' include/qcaudit/evidence.def)
    [ "$n" -gt 200 ]
    # Nobody puts a member into evidence, or reads one, by a key of its own.
    forbidden 'evidence_(put|get_[a-z]+|has_[a-z]+)\([^"]*"[a-z-]+"|evidence, *"[a-z-]+"' daemon/*/*.c
}

@test "nothing in the product runs a qemu tool or a shell" {
    forbidden '(^|[^>._[:alnum:]])(system|popen)\(' lib/*.c lib/generated/*.c helpers/*.c provenance/*.c daemon/*.c daemon/*/*.c ctl/*.c
    forbidden 'exec[lv]p?e?\([^)]*"[^"]*(qemu|sh)"' lib/*.c lib/generated/*.c helpers/*.c provenance/*.c daemon/*.c daemon/*/*.c ctl/*.c
}

@test "commands are printed by the gate's three functions alone" {
    # The key of a step that is a command is written in one place, and read where remedies are shown.
    forbidden '"command"' $(ls daemon/*/*.c | grep -v '^daemon/remedy/steps.c$')
    [ "$(grep -c '"command"' daemon/remedy/steps.c)" = 3 ]
    # Only those three make one, and each of them asks for an open gate, or for a program that only looks.
    [ "$(grep -c 'remedy_add(remedy, "command"' daemon/remedy/steps.c)" = 2 ]
    [ "$(grep -c 'gate_must_be_open(remedy, gate);' daemon/remedy/steps.c)" = 2 ]
    forbidden 'remedy->steps|remedy_add\(|[.>]open *=[^=]' $(ls daemon/remedy/*.c | grep -vE '^daemon/remedy/(steps|gate|remedy)\.c$')
    # The first word of each command, and what it is asked to do, is known here: a new one is thought about.
    cat daemon/remedy/*.c | tr '\n' ' ' | grep -oE 'remedy_(command|and|look)\([^"]*"[^" ]+( [^" ]+)?' | sed 's/.*"//' | grep -vx command | LC_ALL=C sort -u >"$BATS_TEST_TMPDIR/commands"
    diff "$BATS_TEST_TMPDIR/commands" tests/cli/remedy-commands
}

@test "no image is ever opened for writing or locked" {
    forbidden 'O_RDWR|O_WRONLY|F_OFD_SETLK|F_SETLK|\bflock\(|\blockf\(' lib/*.c lib/generated/*.c helpers/worker*.c helpers/files*.c
}

@test "every source says its licence and its purpose" {
    for file in lib/*.[ch] lib/generated/*.c helpers/*.[ch] provenance/*.[ch] daemon/*.[ch] daemon/*/*.[ch] ctl/*.[ch] include/qcaudit/*.h tests/*/*.[ch]; do
        [ -e "$file" ] || continue
        head -n 1 "$file" | grep -q 'SPDX-License-Identifier: LGPL-2.1-or-later' || { echo "$file: no SPDX line"; return 1; }
        sed -n 2p "$file" | grep -qE '^(/\*| \*|//)' || { echo "$file: no sentence of purpose"; return 1; }
    done
}

@test "C is at most 100 columns wide" {
    find lib helpers provenance daemon ctl include tests -name '*.[ch]' -exec grep -nE '^.{101}' {} + >"$BATS_TEST_TMPDIR/wide" || :
    cat "$BATS_TEST_TMPDIR/wide"
    [ ! -s "$BATS_TEST_TMPDIR/wide" ]
}

# Not those where a line is one thing: requests of the manuals, and screens.
@test "tables, makefiles, texts and manuals are at most 100 columns wide" {
    while read -r file; do
        expand "$file" | awk -v file="$file" 'length > 100 && !/^\./ && !/^ +[0-9]+\. / { print file ":" NR ": " $0; wide = 1 }
            END { exit wide }' || wide=yes
    done < <(find . \( -name '*.def' -o -name '*.am' -o -path './man/*.[1-9]' -o -path './man/*.in' ! -name Makefile.in \) \
        -not -path './build*' -not -path '*/_build/*' && printf '%s\n' configure.ac HACKING SECURITY INSTALL NEWS README.md)
    [ -z "$wide" ]
}
