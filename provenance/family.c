/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Families of appliances and cloud images: told by the name of a file, or of the folder in which a
 * manager keeps it. */
#include "provenance/family.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "provenance/family-internal.h"

/* EVE-NG's disks are addons/qemu/PREFIX-REST/BUSx.qcow2: the bus that the node shall have them at.
 * https://www.eve-ng.net/index.php/documentation/qemu-image-namings/ */
#define EVE_DISK "^(lsi|hd|virtide|virtio|scsi|sata|megasas)[a-z]+[.]qcow2$"
/* The first that looks like one in the rest of a folder's name; without a point or bracket it is
 * not one for sure (asav-9182 is 9.18.2, or 91.8.2). */
#define EVE_VERSION "(^|[-._ ])v?([0-9]+[.(][0-9]+([.(-][0-9]+|[-.)]?[a-z]+[0-9]+|[)])*[a-z]?)"
enum { EVE_VERSION_GROUP = 2 };

/* ---- what it consists of -------------------------------------------------------------------- */

static void texts_free(char **texts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(texts[i]);
    free(texts);
}

static void map_free(struct family_map *map, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(map[i].from);
        free(map[i].to);
    }
    free(map);
}

static void rest_free(struct family_rest *rest)
{
    if (!rest)
        return;
    for (size_t i = 0; i < rest->n_names; i++) {
        struct family_name *name = &rest->names[i];

        pattern_done(&name->pattern);
        free(name->version);
        free(name->scheme);
        map_free(name->map, name->n_map);
    }
    free(rest->names);
    map_free(rest->eve_stems, rest->n_eve_stems);
    map_free(rest->minimums, rest->n_minimums);
    pattern_done(&rest->eve_hint);
    free(rest);
}

struct family *family_free(struct family *family)
{
    if (!family)
        return NULL;
    free(family->name);
    free(family->vendor);
    free(family->product);
    free(family->note);
    texts_free(family->gns3, family->n_gns3);
    texts_free(family->eve_prefixes, family->n_eve_prefixes);
    free(family->minimums);
    for (size_t i = 0; i < family->n_examples; i++) {
        free(family->examples[i].file);
        free(family->examples[i].version);
    }
    free(family->examples);
    rest_free(family->rest);
    free(family);
    return NULL;
}

struct family_decoding *family_decoding_free(struct family_decoding *decoding)
{
    if (!decoding)
        return NULL;
    for (size_t i = 0; i < decoding->n_forms; i++) {
        struct family_form *form = &decoding->forms[i];

        pattern_done(&form->pattern);
        for (size_t j = 0; j < form->n_parts; j++) {
            free(form->parts[j].name);
            free(form->parts[j].text);
        }
    }
    free(decoding->forms);
    free(decoding->name);
    free(decoding);
    return NULL;
}

struct families *families_free(struct families *families)
{
    if (!families)
        return NULL;
    for (size_t i = 0; i < families->n; i++)
        family_free(families->items[i]);
    free(families->items);
    if (families->rest) {
        struct families_rest *rest = families->rest;

        for (size_t i = 0; i < rest->n_decodings; i++)
            family_decoding_free(rest->decodings[i]);
        free(rest->decodings);
        texts_free(rest->files, rest->n_files);
        pattern_done(&rest->eve_disk);
        pattern_done(&rest->eve_version);
        if (rest->locale)
            freelocale(rest->locale);
        free(rest);
    }
    free(families);
    return NULL;
}

int families_new(struct families **ret_families)
{
    _cleanup_(families_freep) struct families *families = calloc(1, sizeof(*families));
    char reason[PATTERN_REASON_MAX];

    if (!families || !(families->rest = calloc(1, sizeof(*families->rest))))
        return -ENOMEM;
    struct families_rest *rest = families->rest;
    rest->locale = pattern_locale_new();
    if (!rest->locale)
        return -ENOMEM;
    int r = pattern_compile(EVE_DISK, rest->locale, &rest->eve_disk, reason);
    if (r >= 0)
        r = pattern_compile(EVE_VERSION, rest->locale, &rest->eve_version, reason);
    if (r < 0)
        return r;
    *ret_families = TAKE_PTR(families);
    return 0;
}

const struct family *families_find(const struct families *families, const char *name)
{
    for (size_t i = 0; i < families->n; i++)
        if (strcmp(families->items[i]->name, name) == 0)
            return families->items[i];
    return NULL;
}

struct family_place family_place_of(const struct families *families, const struct family *family)
{
    return (struct family_place){ families->rest->files[family->rest->file], family->rest->line,
                                  family->rest->column };
}

/* ---- names ---------------------------------------------------------------------------------- */

/* The suffix of those with which text, of n bytes, ends; 0: with none, or there is nothing else. */
static size_t suffix_length(const char *text, size_t n, const char *const *suffixes)
{
    for (; *suffixes; suffixes++) {
        size_t length = strlen(*suffixes);

        if (n > length && strncasecmp(text + n - length, *suffixes, length) == 0)
            return length;
    }
    return 0;
}

void family_stem(const char *file, char ret_stem[static PATTERN_NAME_MAX + 1])
{
    static const char *const compressions[] = { ".gz", ".xz", ".zst", ".bz2", ".zip", ".lz4",
                                                NULL };
    static const char *const images[] = { ".qcow2", ".qcow", ".qco", ".img", ".vmdk", ".raw",
                                          ".iso", ".disk", ".vhdx", ".vhd", ".vdi", ".ova",
                                          NULL };
    size_t n = strlen(file);

    n -= suffix_length(file, n, compressions);
    n -= suffix_length(file, n, images);
    memcpy(ret_stem, file, n);
    ret_stem[n] = 0;
}

/* The version that a name says; what it calls by a word, by what that stands for. */
static void name_version(const struct family_name *name, const char *stem,
                         const regmatch_t matches[static PATTERN_GROUPS],
                         char ret_version[static FAMILY_TEXT_MAX])
{
    ret_version[0] = 0;
    if (!name->version ||
        template_expand(name->version, stem, matches, FAMILY_TEXT_MAX, ret_version) < 0)
        return;
    for (size_t i = 0; i < name->n_map; i++)
        if (strcasecmp(name->map[i].from, ret_version) == 0) {
            (void)snprintf(ret_version, FAMILY_TEXT_MAX, "%s", name->map[i].to);
            return;
        }
}

const struct family_name *family_match_names(const struct family *family, const char *stem,
                                             char ret_version[static FAMILY_TEXT_MAX])
{
    regmatch_t matches[PATTERN_GROUPS];

    for (size_t i = 0; i < family->rest->n_names; i++)
        if (pattern_match(&family->rest->names[i].pattern, stem, matches)) {
            name_version(&family->rest->names[i], stem, matches, ret_version);
            return &family->rest->names[i];
        }
    return NULL;
}

static void match_set_version(struct family_match *match, const struct family_name *name,
                              const char *version)
{
    if (!name || !version[0])
        return;
    (void)snprintf(match->version, sizeof(match->version), "%s", version);
    match->scheme = name->scheme;
    match->order = name->order;
    match->epoch = name->epoch;
}

/* One more family that the name fits. Two that are one product are no doubt: the first holds. */
static void match_add(struct family_match *match, const struct family *family,
                      const struct family_name *name, const char *version)
{
    for (size_t i = 0; i < match->n_families; i++)
        if (strcmp(match->families[i]->vendor, family->vendor) == 0 &&
            strcmp(match->families[i]->product, family->product) == 0)
            return;
    if (match->n_families < FAMILY_CANDIDATES_MAX)
        match->families[match->n_families++] = family;
    match->verdict = match->n_families == 1 ? FAMILY_KNOWN : FAMILY_AMBIGUOUS;
    if (match->n_families == 1) {
        match_set_version(match, name, version);
        return;
    }
    match->version[0] = 0;
    match->scheme = NULL;
    match->order = VERSION_ORDER_GENERIC;
    match->epoch = 0;
}

static void match_stem(const struct families *families, const char *stem,
                       struct family_match *match)
{
    char version[FAMILY_TEXT_MAX];

    for (size_t i = 0; i < families->n; i++) {
        const struct family_name *name = family_match_names(families->items[i], stem, version);

        if (name)
            match_add(match, families->items[i], name, version);
    }
}

/* ---- folders of EVE-NG ---------------------------------------------------------------------- */

static bool has_prefix(const struct family *family, const char *prefix)
{
    for (size_t i = 0; i < family->n_eve_prefixes; i++)
        if (strcasecmp(family->eve_prefixes[i], prefix) == 0)
            return true;
    return false;
}

/* The names again, with what the vendor writes where EVE-NG has its prefix. */
static const struct family_name *match_rewritten(const struct family *family, const char *prefix,
                                                 const char *rest,
                                                 char ret_version[static FAMILY_TEXT_MAX])
{
    char text[2 * PATTERN_NAME_MAX + 1];

    for (size_t i = 0; i < family->rest->n_eve_stems; i++)
        if (strcasecmp(family->rest->eve_stems[i].from, prefix) == 0) {
            int n = snprintf(text, sizeof(text), "%s%s", family->rest->eve_stems[i].to, rest);

            return n > PATTERN_NAME_MAX ? NULL : family_match_names(family, text, ret_version);
        }
    return NULL;
}

/* The name whose scheme a version that merely looks like one is of; NULL: the family's are not
 * made so. */
static const struct family_name *release_name(const struct family *family)
{
    for (size_t i = 0; i < family->rest->n_names; i++)
        if (family->rest->names[i].order != VERSION_ORDER_NONE &&
            strcmp(family->rest->names[i].scheme, "release") == 0)
            return &family->rest->names[i];
    return NULL;
}

static void add_by_prefix(const struct families *families, const struct family *family,
                          const char *rest, struct family_match *match)
{
    char version[FAMILY_TEXT_MAX] = "";
    regmatch_t matches[PATTERN_GROUPS];
    const struct family_name *name = NULL;

    if (pattern_match(&families->rest->eve_version, rest, matches)) {
        const regmatch_t *found = &matches[EVE_VERSION_GROUP];

        name = release_name(family);
        (void)snprintf(version, sizeof(version), "%.*s", (int)(found->rm_eo - found->rm_so),
                       rest + found->rm_so);
    }
    match_add(match, family, name, version);
}

/* Those that have the prefix, and a name with what stands in its place. */
static void match_stems(const struct families *families, const char *prefix, const char *rest,
                        struct family_match *match)
{
    char version[FAMILY_TEXT_MAX];

    for (size_t i = 0; i < families->n; i++) {
        const struct family *family = families->items[i];
        const struct family_name *name =
            has_prefix(family, prefix) ? match_rewritten(family, prefix, rest, version) : NULL;

        if (name)
            match_add(match, family, name, version);
    }
}

/* Those that have the prefix, or with hinted those of them that the rest of the name hints at. */
static void match_prefix(const struct families *families, const char *prefix, const char *rest,
                         bool hinted, struct family_match *match)
{
    regmatch_t matches[PATTERN_GROUPS];

    for (size_t i = 0; i < families->n; i++) {
        const struct family *family = families->items[i];

        if (has_prefix(family, prefix) &&
            (!hinted || pattern_match(&family->rest->eve_hint, rest, matches)))
            add_by_prefix(families, family, rest, match);
    }
}

static void match_folder(const struct families *families, const char *folder,
                         struct family_match *match)
{
    char prefix[PATTERN_NAME_MAX + 1];
    size_t length = strcspn(folder, "-");
    const char *rest = folder[length] ? folder + length + 1 : "";

    match->by_folder = true;
    match_stem(families, folder, match);
    if (match->verdict != FAMILY_UNKNOWN)
        return;
    (void)snprintf(prefix, sizeof(prefix), "%.*s", (int)length, folder);
    match_stems(families, prefix, rest, match);
    if (match->verdict == FAMILY_UNKNOWN)
        match_prefix(families, prefix, rest, true, match);
    if (match->verdict == FAMILY_UNKNOWN)
        match_prefix(families, prefix, rest, false, match);
}

/* ---- paths ---------------------------------------------------------------------------------- */

/* The part of a path that ends at *end, which is moved before it; false: there is none that a file
 * could have. */
static bool take_part(const char *path, size_t *end, char ret_part[static PATTERN_NAME_MAX + 1])
{
    size_t last = *end, begin;

    while (last > 0 && path[last - 1] == '/')
        last--;
    for (begin = last; begin > 0 && path[begin - 1] != '/'; begin--)
        ;
    if (last == begin || last - begin > PATTERN_NAME_MAX)
        return false;
    memcpy(ret_part, path + begin, last - begin);
    ret_part[last - begin] = 0;
    *end = begin;
    return strcmp(ret_part, ".") != 0 && strcmp(ret_part, "..") != 0;
}

void family_identify(const struct families *families, const char *path,
                     struct family_match *ret_match)
{
    size_t end = strlen(path);
    bool folder = end > 0 && path[end - 1] == '/';
    char part[PATTERN_NAME_MAX + 1], stem[PATTERN_NAME_MAX + 1];
    regmatch_t matches[PATTERN_GROUPS];

    *ret_match = (struct family_match){ .verdict = FAMILY_UNKNOWN };
    if (!take_part(path, &end, part))
        return;
    if (folder) {
        match_folder(families, part, ret_match);
        return;
    }
    if (pattern_match(&families->rest->eve_disk, part, matches)) {
        if (take_part(path, &end, part))
            match_folder(families, part, ret_match);
        return;
    }
    family_stem(part, stem);
    match_stem(families, stem, ret_match);
}

struct version family_match_version(const struct family_match *match)
{
    return (struct version){ match->version, match->scheme, match->order, match->epoch };
}

struct version family_minimum_version(const struct family *family, const char *text)
{
    struct version minimum = { .text = text, .order = VERSION_ORDER_NONE };

    for (size_t i = 0; i < family->rest->n_names; i++) {
        const struct family_name *name = &family->rest->names[i];

        if (!name->version || name->order == VERSION_ORDER_NONE)
            continue;
        bool first = !minimum.scheme || (strcmp(name->scheme, "release") == 0 &&
                                         strcmp(minimum.scheme, "release") != 0);
        if (!first && (strcmp(name->scheme, minimum.scheme) != 0 || name->epoch <= minimum.epoch))
            continue;
        minimum.scheme = name->scheme;
        minimum.order = name->order;
        minimum.epoch = name->epoch;
    }
    return minimum;
}

/* ---- parts of a version --------------------------------------------------------------------- */

size_t family_decode(const struct family *family, const char *version,
                     struct family_part ret_parts[static FAMILY_PARTS_MAX])
{
    const struct family_decoding *decoding = family->rest->decoding;
    regmatch_t matches[PATTERN_GROUPS];

    for (size_t i = 0; decoding && i < decoding->n_forms; i++) {
        const struct family_form *form = &decoding->forms[i];
        size_t n = 0;

        if (!pattern_match(&form->pattern, version, matches))
            continue;
        for (size_t j = 0; j < form->n_parts; j++) {
            struct family_part *part = &ret_parts[n];

            part->name = form->parts[j].name;
            if (template_expand(form->parts[j].text, version, matches, sizeof(part->text),
                                part->text) == 0 &&
                part->text[0])
                n++;
        }
        return n;
    }
    return 0;
}
