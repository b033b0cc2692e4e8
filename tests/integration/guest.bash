# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# guest.bash - how the scripts that run in a guest of systemd-host say what they found.

verdict() { # NAME STATUS TEXT
    if [ "$2" = 0 ]; then echo "ok $1"; else echo "not ok $1: $3"; fi
}
is() { # NAME EXPECTED ACTUAL
    [ "$2" = "$3" ]
    verdict "$1" $? "'$3' instead of '$2'"
}
has() { # NAME PATTERN TEXT
    grep -qE -- "$2" <<<"$3"
    verdict "$1" $? "no '$2' in: $3"
}
wait_until() { # COMMAND...
    local i
    for ((i = 0; i < 200; i++)); do
        "$@" && return 0
        sleep 0.1
    done
    return 1
}
