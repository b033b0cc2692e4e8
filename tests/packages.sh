# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2034
# The Debian packages that building, demonstrating and testing need: the one list, sourced by
# quickstart and tests/run.

packages_build=(gcc make autoconf automake libtool pkg-config xz-utils libc6-dev
    zlib1g-dev libzstd-dev libisal-dev libssl-dev libsystemd-dev libsqlite3-dev libyaml-dev libjson-c-dev
    libseccomp-dev libsmartcols-dev libvirt-dev libxml2-dev)
packages_demonstration=(qemu-utils python3)
packages_test=(bats fsverity libcmocka-dev clang libclang-rt-dev libfuse3-dev fuse3 sqlite3 jq
    monitoring-plugins-basic python3-jsonschema procps util-linux mount msmtp curl e2fsprogs btrfs-progs man-db mandoc groff-base bash-completion zsh fish shellcheck dbus systemd systemd-sysv systemd-container
    debhelper dpkg-dev dh-apparmor lintian rpm apparmor prometheus prometheus-node-exporter
    qemu-system-x86 libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients
    gnupg gpgv openssl strace
    openssh-client openssh-server fdisk gdisk dosfstools ntfs-3g genisoimage xorriso cryptsetup-bin)

# what kernel-guest, and the tests in it, need beside
packages_kernel=(busybox-static kmod udev lvm2 nfs-kernel-server)

# what package.bats needs beside
packages_package=(mmdebstrap debian-archive-keyring)

# what big-endian needs beside
packages_big_endian=(gcc-s390x-linux-gnu libc6-dev-s390x-cross qemu-user-static)

# install_packages PACKAGE...: has the missing ones installed on a Debian machine by root. Elsewhere it
# says which are needed and succeeds: what is really missing, configure says.
install_packages() {
    local package missing=()
    if ! command -v dpkg-query >/dev/null; then
        echo "This is not Debian; what follows needs the counterparts of these packages: $*" >&2
        return 0
    fi
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        echo "Not installed: ${missing[*]}" >&2
        echo "As root: apt-get install ${missing[*]}" >&2
        return 0
    fi
    echo "Installing ${missing[*]}"
    # A test's prometheus or libvirtd is a private one: no service of these packages is started here.
    local policy=/usr/sbin/policy-rc.d status=0
    if [ -e "$policy" ]; then policy=; else printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"; fi
    { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends \
        install "${missing[@]}"; } </dev/null >&2 || status=1
    [ -z "$policy" ] || rm -f "$policy"
    [ "$status" = 0 ] || echo "apt-get could not install: ${missing[*]}" >&2
    return "$status"
}
