# SPDX-License-Identifier: LGPL-2.1-or-later
# fish completion for qcauditctl(1)
# Verbs and options are those of its --help; images, findings, domains and datastores those that the daemon knows.

function __qcauditctl_verbs
    qcauditctl --help 2>/dev/null | sed -n '/^Verbs:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p'
end
function __qcauditctl_verb
    set -l verbs (__qcauditctl_verbs)
    for word in (commandline -opc)[2..-1]
        if contains -- $word $verbs
            echo $word
            return 0
        end
    end
    return 1
end
function __qcauditctl_verb_is
    set -l verb (__qcauditctl_verb); and contains -- $verb $argv
end
function __qcauditctl_options
    qcauditctl (__qcauditctl_verb) --help 2>/dev/null | sed -n '/^Options:/,$s/^  .. \(--[a-z][a-z-]*=\{0,1\}\)[A-Z]* *\(.*\)/\1\t\2/p'
end
# The option whose value is typed, behind = or a blank; fails when it is none.
function __qcauditctl_valued
    set -l token (commandline -ct)
    if string match -q -- '--*=*' $token
        string replace -r '=.*' '' -- $token
        return 0
    end
    set -l before (commandline -opc)[-1]
    test "$before" = -f; and set before --format
    test "$before" = -n; and set before --lines
    test "$before" = -H; and set before --host
    if test "$before" = -o
        set before --columns
        __qcauditctl_verb_is evidence; and set before --out
    end
    string match -q -- '--*' $before; or return 1
    __qcauditctl_options | cut -f 1 | string match -q -- "$before="; or return 1
    echo $before
end
function __qcauditctl_values
    set -l option (__qcauditctl_valued); or return
    set -l prefix ''
    string match -q -- '--*=*' (commandline -ct); and set prefix "$option="
    set -l values
    switch $option
        case --json
            set values short pretty off
        case --output
            set values table json jsonl csv
        case --severity
            set values info warning error critical
        case --metric
            set values depth leaks allocated corruptions size used
        case --state
            set values open acknowledged resolved all
        case --format
            set values raw qcow2
        case --algorithm
            set values sha256 md5 sha1 sha512
        case --id
            set values (__qcauditctl_ids)
        case --name --finding
            set values (__qcauditctl_names)
        case --datastore
            set values (__qcauditctl_datastores)
        case --domain
            set values (__qcauditctl_domains)
        case --host
            set values (__fish_print_hostnames)
        case --socket --path --out --catalogue --families --signature --keyring --key --root --certificates
            __fish_complete_path (commandline -ct)
        case --state-directory
            __fish_complete_directories
    end
    test (count $values) -gt 0; and printf '%s\n' $prefix$values
end
function __qcauditctl_option_begun
    string match -q -- '-*' (commandline -ct); and not string match -q -- '*=*' (commandline -ct)
end
# An argument of one of these verbs.
function __qcauditctl_argument_of
    not __qcauditctl_valued >/dev/null; and __qcauditctl_verb_is $argv
end
function __qcauditctl_names
    qcauditctl --no-pager --no-legend explain 2>/dev/null | cut -d ' ' -f 1
end
function __qcauditctl_ids
    qcauditctl --no-pager --json=short findings 2>/dev/null | grep -o '"id":[0-9]*' | cut -d : -f 2
end
function __qcauditctl_mutes
    qcauditctl --no-pager --json=short mutes 2>/dev/null | grep -o '"id":[0-9]*' | cut -d : -f 2
end
function __qcauditctl_datastores
    qcauditctl --no-pager --json=short status 2>/dev/null | sed -n 's/.*"datastores":\[//p' | grep -o '"name":"[A-Za-z0-9._-]*"' | cut -d '"' -f 4
end
function __qcauditctl_domains
    qcauditctl --no-pager --json=short domains 2>/dev/null | grep -o '"name":"[A-Za-z0-9._-]*"' | cut -d '"' -f 4
end
function __qcauditctl_images
    qcauditctl --no-pager --json=short --lines=5000 images 2>/dev/null | grep -o '"path":"[A-Za-z0-9/._,+@%-]*"' | cut -d '"' -f 4 | sed 's#.*/\([^/-][^/]*\)$#&\n\1#'
end

complete -c qcauditctl -f
complete -c qcauditctl -n __qcauditctl_option_begun -a '(__qcauditctl_options)'
complete -c qcauditctl -a '(__qcauditctl_values)'
complete -c qcauditctl -n 'not __qcauditctl_verb >/dev/null; and not __qcauditctl_valued >/dev/null' -a '(__qcauditctl_verbs)'
complete -c qcauditctl -n '__qcauditctl_argument_of explain' -a '(__qcauditctl_names)'
complete -c qcauditctl -n '__qcauditctl_argument_of ack show evidence' -a '(__qcauditctl_ids)'
complete -c qcauditctl -n '__qcauditctl_argument_of unmute' -a '(__qcauditctl_mutes)'
complete -c qcauditctl -n '__qcauditctl_argument_of pause release resume' -a '(__qcauditctl_datastores)'
complete -c qcauditctl -n '__qcauditctl_argument_of domains show chain history' -a '(__qcauditctl_domains)'
complete -c qcauditctl -n '__qcauditctl_argument_of baseline' -a 'list show accept'
complete -c qcauditctl -n '__qcauditctl_argument_of catalogue' -a 'check make'
complete -c qcauditctl -n '__qcauditctl_argument_of show chain history images policy scan baseline evidence' -a '(__qcauditctl_images)'
complete -c qcauditctl -n '__qcauditctl_argument_of show chain history images policy scan baseline evidence audit check hash verify compare identify catalogue' -F
