#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# qcauditctl catalogue check: lists of known content in each form, signed in each way, and refused in each wrong one.
bats_require_minimum_version 1.5.0

need() {
    local command
    for command; do command -v "$command" >/dev/null || skip "$command is not installed"; done
}

setup() {
    cd "$BATS_TEST_TMPDIR" || return 1
    unset GNUPGHOME
    printf 'content' >disk.qcow2
    SHA256=$(sha256sum disk.qcow2 | cut -d ' ' -f 1)
    SHA512=$(sha512sum disk.qcow2 | cut -d ' ' -f 1)
    MD5=$(md5sum disk.qcow2 | cut -d ' ' -f 1)
}
teardown() { [ ! -d gnupg ] || gpgconf --homedir "$PWD/gnupg" --kill all 2>/dev/null || :; }

check() { qcauditctl catalogue check "$@"; }
field() { jq -r ".records[0].\"$1\"" json; }

# refused REASON ARGUMENT...: with nothing at standard output, and the reason at standard error.
refused() {
    local reason=$1
    shift
    run -1 --separate-stderr qcauditctl catalogue check "$@"
    [ -z "$output" ]
    [[ $stderr == *"$reason"* ]] || { echo "$stderr"; return 1; }
}

# ---- forms ------------------------------------------------------------------------------------

# A list of each form, of disk.qcow2, in a file named by the form.
make_lists() {
    sha256sum disk.qcow2 >sums
    cat >gns3a <<END
{"name": "Router", "registry_version": 4, "images": [
 {"filename": "disk.qcow2", "version": "1.2", "md5sum": "$MD5", "filesize": 7},
 {"filename": "empty8G.qcow2", "version": "1.0", "md5sum": "f1d2d2f924e986ac86fdf7b36c94bcdf", "filesize": 9}],
 "versions": [{"name": "1.2", "images": {"hda_disk_image": "disk.qcow2"}}]}
END
    cat >simplestreams <<END
{"format": "products:1.0", "datatype": "image-downloads", "products": {"com.ubuntu.cloud:server:22.04:amd64":
 {"os": "ubuntu", "version": "22.04", "arch": "amd64", "versions": {"20260321": {"items": {
  "disk1.img": {"ftype": "disk1.img", "path": "server/jammy/20260321/disk.qcow2", "size": 7, "sha256": "$SHA256", "md5": "$MD5"},
  "manifest": {"ftype": "manifest", "path": "server/jammy/20260321/disk.manifest", "size": 9, "sha256": "$SHA256"}}},
  "20260101": {"items": {"disk1.img": {"ftype": "disk1.img", "path": "server/jammy/20260101/disk.qcow2", "size": 8,
   "sha256": "${SHA256//[0-9]/a}"}}}}}}}
END
    cat >kgv <<END
{"header": {"version": "KGV_format_2.0"}, "products": [{"product": "Router", "bootLoaderVersions": [],
 "osImageVersions": [{"version": "17.3", "entries": [{"filename": "disk.qcow2", "md5": "$MD5", "sha256": "$SHA256",
  "sha512": "$SHA512", "biv_hash": "00", "published": "2026-01-01"}]}]}]}
END
    cat >glance <<END
[{"ID": "8a2d1a3e-0001-4000-8000-000000000001", "Name": "Router", "Size": 7, "Checksum": "$MD5", "Status": "active",
  "properties": {"os_hash_algo": "sha512", "os_hash_value": "$SHA512"}},
 {"ID": "8a2d1a3e-0001-4000-8000-000000000002", "Name": "queued", "Size": null, "Checksum": null, "Status": "queued"}]
END
    cat >virt-builder <<END
# an index
[router-1]
name=Router 1
arch=x86_64
file=templates/disk.qcow2
checksum[sha512]=$SHA512
format=qcow2
size=7516192768
compressed_size=7
revision=3
notes=Of a vendor.
 [not a section]
END
    cat >qcaudit <<END
{"format": "qcaudit-catalogue-1", "records": [{"name": "disk.qcow2", "size": 7, "family": "router", "version": "1",
 "sha256": "$SHA256", "level": "signed"}]}
END
}
forms() { echo sums gns3a simplestreams kgv glance virt-builder qcaudit; }

@test "each form is known by its content, and what it says is taken" {
    need jq
    local form
    make_lists
    for form in $(forms); do
        check "$form" --json=short >json
        [ "$(jq -r .form json)" = "$form" ] || { echo "$form"; cat json; return 1; }
        [ "$(jq .signature json)" = null ]
        [ "$form" = glance ] || [ "$(field name)" = disk.qcow2 ]
    done
    check gns3a --json=short >json
    [ "$(field level) $(field weak) $(field family) $(field version) $(field size)" = "claim true Router 1.2 7" ]
    [ "$(jq -c '[.files, ."files-weak", ."passed-over"]' json)" = "[1,1,1]" ]
    check simplestreams --json=short >json
    # One name, two serials: two files.
    [ "$(jq -r '.records[] | .version + " " + .family' json | tr '\n' ,)" = "22.04 20260321 ubuntu,22.04 20260101 ubuntu," ]
    [ "$(jq '."passed-over"' json)" = 1 ]
    check kgv --json=short >json
    [ "$(field family) $(field version) $(field sha512) $(field level)" = "Router 17.3 $SHA512 pinned" ]
    check glance --json=short >json
    [ "$(field name) $(field title) $(field sha512) $(field md5)" = "8a2d1a3e-0001-4000-8000-000000000001 Router $SHA512 $MD5" ]
    [ "$(jq '."passed-over"' json)" = 1 ]
    check virt-builder --json=short >json
    [ "$(field family) $(field version) $(field title) $(field size)" = "router-1 3 Router 1 7" ]
    # What the file says of its own level is not believed.
    check qcaudit --json=short >json
    [ "$(field level)" = pinned ]
}

@test "lists of sums: as each program writes them" {
    need jq openssl
    cp disk.qcow2 'odd \ name'
    sha256sum 'odd \ name' >gnu
    sha256sum -b disk.qcow2 >>gnu
    sha1sum --tag disk.qcow2 >>gnu
    openssl dgst -sha512 disk.qcow2 >openssl
    printf '%s disk.qcow2\n' "$SHA256" >one-blank
    printf '# disk.qcow2: 7 bytes\r\nSHA256 (disk.qcow2) = %s\r\n' "$SHA256" >fedora
    check gnu --json=short >json
    [ "$(jq -r '.records[] | .name' json | tr '\n' ,)" = 'odd \ name,disk.qcow2,' ]
    [ "$(jq -r '.records[1].sha1' json)" = "$(sha1sum disk.qcow2 | cut -d ' ' -f 1)" ]
    check openssl --json=short >json
    [ "$(field name) $(field sha512)" = "disk.qcow2 $SHA512" ]
    check one-blank --json=short >json
    [ "$(field name) $(field sha256)" = "disk.qcow2 $SHA256" ]
    check fedora --json=short >json
    [ "$(field size)" = 7 ]
}

@test "what --json prints is a list, too, with the same content" {
    need jq
    make_lists
    check kgv --json=short >once
    check once --json=short >twice
    [ "$(jq -c .records once)" = "$(jq -c .records twice)" ]
    [ "$(jq -r .form twice)" = qcaudit ]
}

@test "a list that is wrong anywhere is refused as a whole, with its line" {
    local good
    good="$SHA256  good.qcow2"
    printf '%s\n%s  ../evil\n' "$good" "$SHA256" >list && refused 'list:2: refused: a name leads into a folder: "../evil"' list
    printf '%s\n%s  good.qcow2\n' "$good" "${SHA256//[0-9]/a}" >list && refused 'list:2: refused: a file is listed twice' list
    printf '%s\n%sab  x\n' "$good" "$SHA256" >list && refused 'list:2: refused: a digest has 66 digits' list
    printf '%s\n%s  \xff\xfe\n' "$good" "$SHA256" >list && refused 'list:2: refused: a name is no valid UTF-8' list
    printf '%s\n%s  a\x1b[31m\n' "$good" "$SHA256" >list && refused 'list:2: refused: a name holds control characters' list
    printf '%s\nx\0y\n' "$good" >list && refused 'list:2: refused: the list holds a NUL' list
    printf '%s\n%s  %s\n' "$good" "$SHA256" "$(printf 'x%.0s' {1..256})" >list && refused 'list:2: refused: a name is longer' list
    printf '%s\n%s  %s\n' "$good" "$SHA256" "$(printf 'x%.0s' {1..5000})" >list && refused 'list:2: refused: a line is longer' list
    printf '%s\nnothing\n' "$good" >list && refused 'list:2: refused: this line is no digest' list
    printf '{"format": "qcaudit-catalogue-1",\n"records": [{"name": "x", "sha256": "12"}]}' >list
    refused 'list:2: refused: sha256 is not 64 hexadecimal digits' list
    printf '{"format": "qcaudit-catalogue-1",\n"records": [%s]}' "$(printf '[%.0s' {1..100})" >list
    refused 'list:2: refused: it is nested deeper than 16 levels' list
    printf '{"format": "qcaudit-catalogue-1",\n\n"records": [}' >list && refused 'list:3: refused: it is no JSON' list
    : >list && refused 'no file with a digest is listed' list
    refused 'Cannot open' nowhere
    refused 'is no regular file' .
    truncate -s 65M list && refused 'larger than 64 MiB' list
    run -1 qcauditctl catalogue import list
    [[ $output == *"'catalogue import' is not known"* ]]
}

@test "100,000 files are read, and no more; sparse gigabytes are refused at once" {
    awk 'BEGIN { for (i = 0; i < 100000; i++) printf "%064x  image-%d.qcow2\n", i, i }' >list
    run -0 qcauditctl catalogue check list
    [[ $output == "list: 100000 files, form sums"* ]]
    [[ $output == *"... and 99980 more"* ]]
    printf '%s  more\n' "$SHA256" >>list
    refused 'list:100001: refused: more than 100000 files' list
    truncate -s 4G list
    refused 'larger than 64 MiB' list
}

@test "as a table, columns can be chosen" {
    make_lists
    run -0 qcauditctl catalogue check kgv --columns=name,sha256 --no-legend
    [ "$output" = "disk.qcow2 $SHA256" ]
    run -0 qcauditctl catalogue check kgv --output=csv --columns=name,version
    [ "$output" = $'name,version\r\ndisk.qcow2,17.3\r' ]
    run -0 qcauditctl catalogue check gns3a
    [[ $output == *"Weak: 1 with MD5 or SHA-1 alone"* ]]
}

# ---- OpenPGP ----------------------------------------------------------------------------------

gnupg() { gpg --homedir "$PWD/gnupg" --batch --quiet --yes --no-auto-check-trustdb --pinentry-mode loopback --passphrase '' "$@" 2>gpg.log; }
fingerprint() { gnupg --with-colons --list-keys "$1" | awk -F: '/^fpr/ { print $10; exit }'; }

# A key of NAME in NAME.gpg.
make_key() { # NAME [EXPIRES]
    [ -d gnupg ] || mkdir -m 700 gnupg
    gnupg --quick-gen-key "$1 <$1@example.org>" ed25519 sign "${2:-never}" || { cat gpg.log; return 1; }
    gnupg --export "$1" >"$1.gpg"
}

@test "OpenPGP: a signed list of each form is accepted, detached and clear-signed" {
    need gpg gpgv jq
    local form fpr
    make_lists
    make_key vendor
    fpr=$(fingerprint vendor)
    for form in $(forms); do
        gnupg --local-user vendor --detach-sign "$form"
        gnupg --local-user vendor --clearsign --output "$form.clear" "$form"
        if [ "$form" = gns3a ]; then
            # It knows MD5 alone.
            refused 'all its digests are MD5 or SHA-1' gns3a --signature gns3a.sig --keyring vendor.gpg --fingerprint "$fpr"
            continue
        fi
        check "$form" --signature "$form.sig" --keyring vendor.gpg --fingerprint "$fpr" --json=short >json
        [ "$(jq -r '.form + " " + .signature.key' json) $(field level)" = "$form $fpr signed" ]
        check "$form.clear" --keyring vendor.gpg --fingerprint "$fpr" --json=short >json
        [ "$(jq -r '.form + " " + .signature.key' json) $(field level)" = "$form $fpr signed" ]
        # The same list, but one that nobody vouches for.
        refused 'is refused: ' "$form.clear" || refused 'it is signed within' "$form.clear"
    done
    # Armoured, as vendors publish keys and signatures; a fingerprint in small letters, and another one before it.
    gnupg --armor --export vendor >vendor.asc
    gnupg --local-user vendor --armor --detach-sign --output sums.asc sums
    run -0 qcauditctl catalogue check sums --signature sums.asc --keyring vendor.asc \
        --fingerprint "0000000000000000000000000000000000000000,${fpr,,}"
    [[ $output == *"Signed by: $fpr"* ]]
}

@test "OpenPGP: unpinned, unknown, expired and revoked keys, changed bytes, unsigned parts, weak digests are refused" {
    need gpg gpgv
    local fpr other old
    make_lists
    make_key vendor
    make_key other
    fpr=$(fingerprint vendor) other=$(fingerprint other)
    gnupg --local-user vendor --detach-sign sums
    gnupg --local-user vendor --clearsign --output clear sums
    local pinned=(--keyring vendor.gpg --fingerprint "$fpr")
    # In the keyring, and not pinned.
    refused "(wrong-key): it is signed by $fpr, which is not pinned" sums --signature sums.sig --keyring vendor.gpg --fingerprint "$other"
    # Pinned, and not in the keyring.
    refused "(wrong-key)" sums --signature sums.sig --keyring other.gpg --fingerprint "$fpr"
    # A good signature does not make up for one by somebody else.
    gnupg --local-user vendor --local-user other --detach-sign --output two.sig sums
    refused "(wrong-key)" sums --signature two.sig "${pinned[@]}"
    # A byte.
    sed 's/disk/dusk/' sums >changed
    refused "(bad): bytes were changed" changed --signature sums.sig "${pinned[@]}"
    sed 's/  disk/  dusk/' clear >changed
    refused "(bad): bytes were changed" changed "${pinned[@]}"
    # Text outside of what is signed.
    { printf '%s  evil.qcow2\n' "$SHA256"; cat clear; } >parts
    refused "(unsigned-parts): there is text before" parts "${pinned[@]}"
    { cat clear; printf '%s  evil.qcow2\n' "$SHA256"; } >parts
    refused "(unsigned-parts): there is text behind" parts "${pinned[@]}"
    cat clear clear >parts
    refused "(unsigned-parts)" parts "${pinned[@]}"
    # None at all, and one that is cut.
    refused "(none): the file is not signed" sums "${pinned[@]}"
    sed '/^-----END/d' clear >cut
    refused "(none)" cut "${pinned[@]}"
    : >empty && refused "is refused" sums --signature empty "${pinned[@]}"
    # A whole signed message in the place of a detached signature.
    gnupg --local-user vendor --sign --output message sums
    refused "is refused: its signature" changed --signature message "${pinned[@]}"
    # A keyring that leads elsewhere, and one that others may change.
    ln -s vendor.gpg link.gpg
    refused "link.gpg is not used: it is a symbolic link" sums --signature sums.sig --keyring link.gpg --fingerprint "$fpr"
    cp vendor.gpg open.gpg && chmod 666 open.gpg
    refused "open.gpg is not used: " sums --signature sums.sig --keyring open.gpg --fingerprint "$fpr"
    # SHA-1, which a key of RSA's can be told to sign over.
    gnupg --quick-gen-key 'rsa <rsa@example.org>' rsa2048 sign never
    gnupg --export rsa >rsa.gpg
    gnupg --local-user rsa --digest-algo SHA1 --detach-sign --output sha1.sig sums
    refused "(weak)" sums --signature sha1.sig --keyring rsa.gpg --fingerprint "$(fingerprint rsa)"
    # An expired key, and an expired signature: made by gpg at another time.
    gnupg --faked-system-time 20200101T000000! --quick-gen-key 'old <old@example.org>' ed25519 sign 30d
    gnupg --export old >old.gpg
    old=$(fingerprint old)
    gnupg --faked-system-time 20200102T000000! --local-user old --detach-sign --output old.sig sums
    refused "(expired)" sums --signature old.sig --keyring old.gpg --fingerprint "$old"
    gnupg --faked-system-time 20200101T000000! --quick-gen-key 'long <long@example.org>' ed25519 sign never
    gnupg --export long >long.gpg
    gnupg --faked-system-time 20200102T000000! --local-user long --default-sig-expire 5d --detach-sign --output long.sig sums
    refused "(expired)" sums --signature long.sig --keyring long.gpg --fingerprint "$(fingerprint long)"
    # A revoked one.
    sed 's/^:-----BEGIN/-----BEGIN/' "gnupg/openpgp-revocs.d/$fpr.rev" | gnupg --import
    gnupg --export vendor >revoked.gpg
    refused "(revoked)" sums --signature sums.sig --keyring revoked.gpg --fingerprint "$fpr"
    # What is no keyring, no fingerprint.
    refused "is refused" sums --signature sums.sig --keyring sums --fingerprint "$fpr"
    refused "a fingerprint is 40 or 64" sums --signature sums.sig --keyring vendor.gpg --fingerprint "${fpr:24}"
}

@test "OpenPGP: gpgv has the files of the signature, and neither network nor environment" {
    need gpg gpgv strace
    make_lists
    make_key vendor
    gnupg --local-user vendor --clearsign --output clear sums
    HOME=$PWD/gnupg run -0 strace -f -o trace qcauditctl catalogue check clear --keyring vendor.gpg --fingerprint "$(fingerprint vendor)"
    grep -E 'execve\("[^"]*gpgv"' trace
    grep -qE 'execve\("[^"]*gpgv", .* /\* 0 vars \*/' trace
    # From there on: no socket was made, nothing opened for writing, no process started.
    sed -n '/execve("[^"]*gpgv"/,$p' trace | grep -E '(socket|connect)\(.*= [0-9]|O_(WRONLY|RDWR|CREAT).*= [0-9]|(clone|fork|vfork).*= [0-9]' >done || :
    cat done
    [ ! -s done ]
    grep -q 'landlock_restrict_self(.*= 0$' trace || skip "the kernel has no Landlock"
    # Nothing was opened but libraries, its settings and the files.
    sed -n '/execve("[^"]*gpgv"/,$p' trace | grep -E 'open(at)?\(.*= [0-9]' |
        grep -vE '"(/usr|/lib|/lib64)/|"/etc/(ld.so.cache|localtime)"|"/etc/gcrypt|"/proc/sys/crypto/|"/proc/self/fd/[345]"' >done || :
    # qcauditctl's own line, which comes last
    sed -i '/^'"$(sed -n '1s/ .*//p' trace)"' /d' done
    cat done
    [ ! -s done ]
}

# ---- public keys ------------------------------------------------------------------------------

# pem NAME ALGORITHM [OPTION...]: NAME.key and NAME.pub
pem() {
    openssl genpkey -algorithm "$2" "${@:3}" -out "$1.key" 2>/dev/null
    openssl pkey -in "$1.key" -pubout -out "$1.pub"
}

@test "PEM: Ed25519, ECDSA and RSA, over each digest, binary and base64" {
    need openssl jq
    local key digest
    make_lists
    pem ed ed25519
    pem p256 EC -pkeyopt ec_paramgen_curve:P-256
    pem p384 EC -pkeyopt ec_paramgen_curve:P-384
    pem rsa RSA -pkeyopt rsa_keygen_bits:2048
    openssl pkeyutl -sign -rawin -inkey ed.key -in sums -out ed.sig
    check sums --signature ed.sig --key ed.pub --json=short >json
    [ "$(field level) $(jq -r .signature.key json)" = "signed $(openssl pkey -pubin -in ed.pub -outform DER | sha256sum | cut -d ' ' -f 1)" ]
    for key in p256 p384 rsa; do
        for digest in sha256 sha384 sha512; do
            openssl dgst "-$digest" -sign $key.key -out sig sums
            run -0 qcauditctl catalogue check sums --signature sig --key $key.pub
            [[ $output == *"Level: signed"* ]]
        done
    done
    openssl dgst -sha256 -sigopt rsa_padding_mode:pss -sign rsa.key -out sig sums
    base64 sig >sig.b64
    run -0 qcauditctl catalogue check sums --signature sig.b64 --key rsa.pub
    # Any of several keys.
    cat ed.pub p256.pub rsa.pub >all.pub
    run -0 qcauditctl catalogue check sums --signature sig --key all.pub
    refused "(bad)" sums --signature sig --key p256.pub
    sed 's/disk/dusk/' sums >changed
    refused "(bad)" changed --signature sig --key all.pub
    refused "(bad)" changed --signature ed.sig --key ed.pub
    openssl dgst -sha1 -sign rsa.key -out sig sums
    refused "(weak): the signature is over SHA-1" sums --signature sig --key rsa.pub
    pem short RSA -pkeyopt rsa_keygen_bits:1024
    openssl dgst -sha256 -sign short.key -out sig sums
    refused "(weak): the key has 1024 bits" sums --signature sig --key short.pub
    pem curve EC -pkeyopt ec_paramgen_curve:secp521r1
    openssl dgst -sha256 -sign curve.key -out sig sums
    refused "(unusable)" sums --signature sig --key curve.pub
    refused "(unusable)" sums --signature sig --key sums
    ln -s ed.pub link.pub
    refused "link.pub is not used: it is a symbolic link" sums --signature ed.sig --key link.pub
    refused "link.sig is not used: it is a symbolic link" sums --signature "$(ln -s ed.sig link.sig && echo link.sig)" --key ed.pub
}

# ---- certificates -----------------------------------------------------------------------------

# certificate NAME CA [OPTION...]: NAME.pem, signed by CA
certificate() {
    openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "/O=Vendor/CN=$1" 2>/dev/null
    openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -set_serial $((RANDOM + 1)) -extfile "$1.ext" -out "$1.pem" "${@:3}" 2>/dev/null
}

@test "X.509: a chain that ends at the pinned root, by the expected name" {
    need openssl jq
    make_lists
    openssl req -x509 -newkey rsa:2048 -nodes -keyout Root.key -out Root.pem -subj '/CN=Root' -days 1000 2>/dev/null
    openssl req -x509 -newkey rsa:2048 -nodes -keyout Other.key -out Other.pem -subj '/CN=Root' -days 1000 2>/dev/null
    printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n' >Middle.ext
    printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n' >Values.ext
    certificate Middle Root -days 900
    certificate Values Middle -days 800
    cat Values.pem Middle.pem >chain.pem
    for digest in sha256 sha512; do
        openssl dgst -$digest -sign Values.key -out sig kgv
        check kgv --signature sig --root Root.pem --certificates chain.pem --subject Values --json=short >json
        [ "$(field level) $(jq -r .signature.method json)" = "signed x509" ]
    done
    refused "(wrong-key): no certificate has the expected common name" kgv --signature sig --root Root.pem --certificates chain.pem --subject Value
    refused "(wrong-key)" kgv --signature sig --root Other.pem --certificates chain.pem --subject Values
    refused "(wrong-key)" kgv --signature sig --root Root.pem --certificates Values.pem --subject Values
    sed 's/17.3/17.4/' kgv >changed
    refused "(bad)" changed --signature sig --root Root.pem --certificates chain.pem --subject Values
    # One whose name somebody else gave himself, as a root of his own among the certificates.
    openssl req -x509 -newkey rsa:2048 -nodes -keyout own.key -out own.pem -subj '/CN=Values' -days 9 2>/dev/null
    openssl dgst -sha512 -sign own.key -out own.sig kgv
    refused "(wrong-key)" kgv --signature own.sig --root Root.pem --certificates own.pem --subject Values
    # Signed by what is no authority.
    cp Values.ext Below.ext
    certificate Below Values -days 9
    openssl dgst -sha512 -sign Below.key -out below.sig kgv
    cat Below.pem chain.pem >below.pem
    refused "(wrong-key)" kgv --signature below.sig --root Root.pem --certificates below.pem --subject Below
    # SHA-1 in the chain.
    cp Values.ext Weak.ext
    certificate Weak Middle -days 9 -sha1
    openssl dgst -sha512 -sign Weak.key -out weak.sig kgv
    cat Weak.pem Middle.pem >weak.pem
    refused "(weak)" kgv --signature weak.sig --root Root.pem --certificates weak.pem --subject Weak
    # Expired: its last day is before its first.
    cp Values.ext Past.ext
    certificate Past Middle -days -1
    openssl dgst -sha512 -sign Past.key -out past.sig kgv
    cat Past.pem Middle.pem >past.pem
    refused "(expired)" kgv --signature past.sig --root Root.pem --certificates past.pem --subject Past
    # Revoked, by a list beside the certificates.
    printf '[ca]\ndefault_ca=c\n[c]\ndatabase=index\ncrlnumber=number\ndefault_md=sha256\ndefault_crl_days=9\n' >ca.conf
    : >index && echo 01 >number
    openssl ca -config ca.conf -cert Middle.pem -keyfile Middle.key -gencrl -out none.crl 2>ca.log
    cat chain.pem none.crl >listed.pem
    run -0 qcauditctl catalogue check kgv --signature sig --root Root.pem --certificates listed.pem --subject Values
    openssl ca -config ca.conf -cert Middle.pem -keyfile Middle.key -revoke Values.pem 2>ca.log
    openssl ca -config ca.conf -cert Middle.pem -keyfile Middle.key -gencrl -out one.crl 2>ca.log
    cat chain.pem one.crl >listed.pem
    refused "(revoked)" kgv --signature sig --root Root.pem --certificates listed.pem --subject Values
}

@test "options that do not go together are refused" {
    make_lists
    refused "--keyring and --fingerprint go together" sums --keyring x
    refused "by whom it is to be signed" sums --signature x
    refused "need the --signature" sums --key x
    refused "one of --keyring, --key and --root" sums --key x --keyring y
    refused "--root and --subject go together" sums --root x --signature y
}

@test "catalogue make lists nothing that catalogue check refuses" {
    mkdir one other
    truncate -s 1M one/a.raw $'one/b\nc.raw' $'one/\xff.raw'
    truncate -s 2M other/a.raw
    run -1 --separate-stderr qcauditctl catalogue make $'one/b\nc.raw'
    [ -z "$output" ]
    [[ $stderr == *"Cannot list one/b\\nc.raw: a name holds control characters"* ]]
    run -1 --separate-stderr qcauditctl catalogue make $'one/\xff.raw'
    [[ $stderr == *"a name is no valid UTF-8"* ]]
    run -1 --separate-stderr qcauditctl catalogue make one/a.raw other/a.raw
    [ -z "$output" ]
    [[ $stderr == *"Cannot list other/a.raw: another file has the same name."* ]]
    # the same file twice is one
    qcauditctl catalogue make one/a.raw one/a.raw >made
    run -0 qcauditctl catalogue check made
}
