/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Evidence of layers' names and places: names of snapshots' overlays, places and names of
 * templates. */
#include <ctype.h>
#include <fnmatch.h>
#include <string.h>
#include <strings.h>

#include "daemon/relate/internal.h"
#include "lib/cleanup.h"

/* A part of a name; not terminated. */
struct piece { const char *text; size_t length; };

static struct piece path_piece(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;

    return (struct piece){ name, strlen(name) };
}

bool path_same_folder(const char *a, const char *b)
{
    const char *end_a = strrchr(a, '/'), *end_b = strrchr(b, '/');
    size_t n = end_a ? (size_t)(end_a - a) : 0;

    return n == (end_b ? (size_t)(end_b - b) : 0) && memcmp(a, b, n) == 0;
}

/* The name without ".vmdk" and without the number of a layer; 0: it is not called so. */
static size_t delta_root(const char *path, bool *ret_delta)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n = strlen(name), digits = 0;

    *ret_delta = false;
    if (n <= 5 || strcasecmp(name + n - 5, ".vmdk") != 0)
        return 0;
    n -= 5;
    while (digits < 6 && digits < n && isdigit((unsigned char)name[n - 1 - digits]))
        digits++;
    if (digits < 6 || n <= 7 || name[n - 7] != '-')
        return n;
    *ret_delta = true;
    return n - 7;
}

bool layer_name_is_delta(const char *overlay_path, const char *parent_path)
{
    const char *slash = strrchr(overlay_path, '/'), *below = strrchr(parent_path, '/');
    bool delta, also;
    size_t n = delta_root(overlay_path, &delta);

    return delta && n == delta_root(parent_path, &also) &&
           path_same_folder(overlay_path, parent_path) &&
           memcmp(slash ? slash + 1 : overlay_path, below ? below + 1 : parent_path, n) == 0;
}

static bool piece_is(struct piece piece, const char *word)
{
    return piece.length == strlen(word) && strncasecmp(piece.text, word, piece.length) == 0;
}

/* The name without its last extension; *ret_is_image: that is one of images. */
static struct piece piece_stem(struct piece name, bool *ret_is_image)
{
    static const char *const extensions[] = {
        "qcow2", "qcow", "qc2", "img", "raw", "qed", "vmdk", "vdi", "vhd", "vhdx", "vpc", "bin",
        "disk", "hdd",
    };
    size_t dot = name.length;
    bool is_image = false;

    while (dot > 0 && name.text[dot - 1] != '.')
        dot--;
    if (dot > 1) {
        struct piece extension = { name.text + dot, name.length - dot };

        for (size_t i = 0; i < ELEMENTSOF(extensions); i++)
            is_image |= piece_is(extension, extensions[i]);
        name.length = dot - 1;
    }
    *ret_is_image = is_image;
    return name;
}

static bool is_separator(char c)
{
    return strchr("._-@+~# ", c) && c != '\0';
}

/* Takes the next token, which ends at a separator; false at the end. */
static bool next_token(struct piece *rest, struct piece *ret_token)
{
    size_t n = 0;

    while (rest->length > 0 && is_separator(*rest->text))
        rest->text++, rest->length--;
    if (rest->length == 0)
        return false;
    while (n < rest->length && !is_separator(rest->text[n]))
        n++;
    *ret_token = (struct piece){ rest->text, n };
    rest->text += n;
    rest->length -= n;
    return true;
}

static size_t digits(struct piece piece)
{
    size_t n = 0;

    while (n < piece.length && isdigit((unsigned char)piece.text[n]))
        n++;
    return n;
}

/* A word that tools and people give to snapshots, with or without a number behind it. */
static bool token_is_snapshot(struct piece token)
{
    static const char *const words[] = {
        "snap", "snaps", "snapshot", "snapshots", "tempsnap", "autosnap", "delta", "checkpoint",
        "ckpt", "before",
        "transient",            /* libvirt's */
    };

    while (token.length > 0 && isdigit((unsigned char)token.text[token.length - 1]))
        token.length--;
    for (size_t i = 0; i < ELEMENTSOF(words); i++)
        if (piece_is(token, words[i]))
            return true;
    return false;
}

/* A time since the epoch, a date (20240131, 202401310600, 20240131T060000), or a number with
 * leading zeros in five to eight digits, as VMware counts; a UUID's last part has twelve. */
static bool token_is_stamp(struct piece token)
{
    size_t n = digits(token);
    bool all = n == token.length;

    if (n >= 5 && n <= 8 && all && token.text[0] == '0')
        return true;
    if ((n == 10 || n == 13) && all && token.text[0] == '1')
        return true;
    if (n == 8 && (all || token.text[8] == 'T' || token.text[8] == 't'))
        return strncmp(token.text, "20", 2) == 0 && token.text[4] <= '1' && token.text[6] <= '3';
    return (n == 12 || n == 14) && all && strncmp(token.text, "20", 2) == 0 &&
           token.text[4] <= '1' && token.text[6] <= '3';
}

/* "2024-01-31": three tokens. */
static bool begins_with_date(struct piece rest)
{
    struct piece year, month, day;

    return next_token(&rest, &year) && next_token(&rest, &month) && next_token(&rest, &day) &&
           year.length == 4 && digits(year) == 4 && strncmp(year.text, "20", 2) == 0 &&
           month.length == 2 && digits(month) == 2 && digits(day) >= 2;
}

/* The rest of the names after the part that two layers have in common. */
static enum layer_name suffix_says(struct piece rest)
{
    struct piece token;
    bool counted = false, stamped, first = true;

    stamped = begins_with_date(rest);
    for (; next_token(&rest, &token); first = false) {
        if (token_is_snapshot(token))
            return NAME_WORD;
        stamped |= token_is_stamp(token);
        counted |= first && digits(token) == token.length;
    }
    return stamped ? NAME_SNAPSHOT : counted ? NAME_COUNTED : NAME_OTHER;
}

/* Compares numbers of any length. */
static bool number_is_next(struct piece number, struct piece before)
{
    while (number.length > 0 && *number.text == '0')
        number.text++, number.length--;
    while (before.length > 0 && *before.text == '0')
        before.text++, before.length--;
    if (number.length != before.length)
        return number.length > before.length;
    return memcmp(number.text, before.text, number.length) > 0;
}

/* Both are called alike but for a number, and the overlay has the larger one. */
static enum layer_name numbers_say(struct piece overlay, struct piece parent)
{
    size_t same = 0, n_overlay, n_parent, begin;
    struct piece prefix, number, before, token = { NULL, 0 };

    while (same < overlay.length && same < parent.length &&
           overlay.text[same] == parent.text[same])
        same++;
    /* the number may have digits in common */
    while (same > 0 && isdigit((unsigned char)overlay.text[same - 1]))
        same--;
    number = (struct piece){ overlay.text + same, overlay.length - same };
    before = (struct piece){ parent.text + same, parent.length - same };
    n_overlay = digits(number);
    n_parent = digits(before);
    if (n_overlay == 0 || n_parent == 0 || number.length - n_overlay != before.length - n_parent ||
        memcmp(number.text + n_overlay, before.text + n_parent, number.length - n_overlay) != 0)
        return NAME_OTHER;
    number.length = n_overlay;
    before.length = n_parent;
    if (!number_is_next(number, before))
        return NAME_OTHER;
    /* "win-v2" on "win-v1" are versions of a template, as are "csr-17.4" and "csr-17.3". */
    begin = same;
    if (begin > 0 && (overlay.text[begin - 1] == 'v' || overlay.text[begin - 1] == 'V') &&
        (begin == 1 || is_separator(overlay.text[begin - 2])))
        return NAME_OTHER;
    prefix = (struct piece){ overlay.text, same };
    while (next_token(&prefix, &token))
        ;
    if (!token_is_snapshot(token) && token_is_stamp(number) && token_is_stamp(before))
        return NAME_SNAPSHOT;
    return token.length > 0 && token_is_snapshot(token) ? NAME_WORD : NAME_COUNTED;
}

/* All of the name is a snapshot's: "snap-01", "delta.20240131". */
static bool name_is_snapshot_alone(struct piece rest)
{
    struct piece token;
    bool word = false, first = true;

    while (next_token(&rest, &token)) {
        if (token_is_snapshot(token))
            word |= first;
        else if (digits(token) != token.length && !token_is_stamp(token))
            return false;
        first = false;
    }
    return word;
}

/* The names without extensions of images. */
static void name_roots(struct piece overlay, struct piece parent, struct piece *ret_overlay,
                       struct piece *ret_parent)
{
    bool overlay_image, parent_image;
    struct piece stem = piece_stem(overlay, &overlay_image),
                 below = piece_stem(parent, &parent_image);

    *ret_overlay = overlay_image ? stem : overlay;
    *ret_parent = parent_image ? below : parent;
}

bool layer_name_follows(const char *overlay_path, const char *parent_path)
{
    struct piece overlay, parent;

    name_roots(path_piece(overlay_path), path_piece(parent_path), &overlay, &parent);
    return numbers_say(overlay, parent) != NAME_OTHER;
}

enum layer_name layer_name_says(const char *overlay_path, const char *parent_path)
{
    struct piece overlay = path_piece(overlay_path), parent = path_piece(parent_path);
    bool overlay_image, parent_image;
    struct piece stem = piece_stem(overlay, &overlay_image),
                 below = piece_stem(parent, &parent_image);
    enum layer_name says, numbers, rest_says, root_says;
    struct piece rest, last = { NULL, 0 }, root;

    /* An extension that is none of images belongs to the name, as in "web.snap1". */
    rest = overlay_image ? stem : overlay;
    root = parent_image ? below : parent;
    if (rest.length == root.length && memcmp(rest.text, root.text, root.length) == 0)
        return NAME_OTHER;      /* disk.qcow2 on disk.img, or on another folder's disk.qcow2 */
    numbers = numbers_say(rest, root);
    if (numbers >= NAME_SNAPSHOT)
        return numbers;

    /* The parent's file name with its extension, and something behind it. */
    if (overlay.length > parent.length && parent.length > 0 &&
        memcmp(overlay.text, parent.text, parent.length) == 0 &&
        is_separator(overlay.text[parent.length])) {
        says = suffix_says((struct piece){ overlay.text + parent.length,
                                           overlay.length - parent.length });
        if (says >= NAME_SNAPSHOT)
            return says;
    }
    /* Without it. */
    if (rest.length > root.length && root.length > 0 &&
        memcmp(rest.text, root.text, root.length) == 0 && is_separator(rest.text[root.length])) {
        says = suffix_says((struct piece){ rest.text + root.length, rest.length - root.length });
        if (says >= NAME_SNAPSHOT || (says == NAME_COUNTED && overlay_image))
            return says;
    }
    /* "web.NAME" on "web.qcow2" or "web.OTHER": libvirt's own way. */
    if (!overlay_image && overlay.length > below.length + 1 &&
        memcmp(overlay.text, below.text, below.length) == 0 && overlay.text[below.length] == '.') {
        struct piece suffix = { overlay.text + below.length + 1,
                                overlay.length - below.length - 1 };

        if (digits(suffix) != suffix.length || token_is_stamp(suffix))
            return NAME_SNAPSHOT;
    }
    /* "web-20240131" on "web-20240130T..", "web.snap2-nightly" on "web.snap1": what is in common
     * ends at a separator, and behind it both are snapshots. */
    for (size_t i = 0; i < rest.length && i < root.length && rest.text[i] == root.text[i]; i++)
        if (is_separator(rest.text[i]) && i > 0)
            last = (struct piece){ rest.text, i + 1 };
    if (last.length > 0) {
        rest_says = suffix_says((struct piece){ rest.text + last.length,
                                                rest.length - last.length });
        root_says = suffix_says((struct piece){ root.text + last.length,
                                                root.length - last.length });
        if (rest_says >= NAME_SNAPSHOT && root_says >= NAME_SNAPSHOT)
            return rest_says;
    }
    if (name_is_snapshot_alone(rest) && path_same_folder(overlay_path, parent_path))
        return NAME_SNAPSHOT;
    return numbers;
}

/* ---- templates ------------------------------------------------------------------------------- */

static const char *const template_places[] = {
    "*/_base/*",                        /* OpenStack nova: base, swap_*, ephemeral_* */
    "*/addons/qemu/*",                  /* EVE-NG, PNETLab */
    "*/GNS3/images/*", "*/images/QEMU/*",       /* GNS3 */
    "*/virl-base-images/*",             /* Cisco CML */
    "*/vault/images/*",                 /* Multipass */
    "*/.vagrant.d/boxes/*", "*/boxes/*",        /* Vagrant */
    "*/template/*", "*/templates/*", "*/golden/*", "*/golden-images/*", "*/golden_images/*",
    "*/base-images/*", "*/base_images/*", "*/cloud-images/*", "*/cloud_images/*",
    "*/cloudimages/*", "*/image-cache/*", "*/.cache/*",
};

/* File names; of the publishers' cloud images, and of managers' templates. */
static const char *const template_names[] = {
    "base-[0-9]*-disk-*",               /* Proxmox VE */
    "*_vagrant_box_image_*", "*-VAGRANTSLASH-*",        /* vagrant-libvirt */
    "*cloudimg*", "*cloud-image*", "*cloud_image*",     /* Ubuntu, Arch Linux */
    "*genericcloud*", "*-nocloud-*", "debian-[0-9]*-generic*",
    "*cloud-base*", "*-openstack-cloud*", "*.x86_64-cloud*", "*-kvm-and-xen*",
    "fedora-cloud*", "fedora-coreos-*", "rhcos-*", "rhel-*-kvm*", "ol[0-9]*-kvm-*", "amzn2-kvm-*",
    "al2023-kvm-*", "cirros-*-disk*", "nocloud_alpine-*", "generic_alpine-*",
    "freebsd-*-release-*", "flatcar_production_*", "gentoo-openstack*", "kali-linux-*-qemu*",
};

static bool matches_any(const char *const *patterns, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++)
        if (fnmatch(patterns[i], text, FNM_CASEFOLD) == 0)
            return true;
    return false;
}

bool place_is_of_templates(const char *path)
{
    return matches_any(template_places, ELEMENTSOF(template_places), path);
}

bool name_is_of_template(const char *path)
{
    static const char *const words[] = { "template", "templ", "tmpl", "tpl", "golden" };
    struct piece rest = path_piece(path), token;

    if (matches_any(template_names, ELEMENTSOF(template_names), rest.text))
        return true;
    while (next_token(&rest, &token))
        for (size_t i = 0; i < ELEMENTSOF(words); i++)
            if (piece_is(token, words[i]))
                return true;
    return false;
}
