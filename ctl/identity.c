/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the name of an image says: the families that are read, and a name told by them. */
#include "ctl/identity.h"

#include <errno.h>
#include <string.h>

#include "ctl/source.h"
#include "helpers/json-text.h"
#include "helpers/text.h"

#define VENDOR_FILE PKGDATADIR "/families.yaml"
#define SITE_FOLDER SYSCONFDIR "/qcaudit/families.d"

/* ---- the families --------------------------------------------------------------------------- */

static void say_mistake(void *userdata, const char *file, unsigned line, unsigned column,
                        const char *message)
{
    if (line > 0)
        (void)complain(0, "%s:%u:%u: %s", file, line, column, message);
    else
        (void)complain(0, "%s: %s", file, message);
}

static void say_nothing(void *userdata, const char *file, unsigned line, unsigned column,
                        const char *message)
{
}

int identity_families(const struct ctl *ctl, bool quiet, struct families **ret_families)
{
    const char *file = ctl->families ? ctl->families : VENDOR_FILE;
    _cleanup_free_ char *folder = NULL;
    const char *slash = strrchr(file, '/');

    if (asprintf(&folder, "%.*sfamilies.d", slash ? (int)(slash - file) + 1 : 0, file) < 0)
        return -ENOMEM;
    int r = families_load(file, ctl->families ? folder : SITE_FOLDER,
                          quiet ? say_nothing : say_mistake, NULL, ret_families);
    if (r < 0 && r != -EINVAL && !quiet)
        return complain(r, "Cannot read the families");
    return r;
}

/* ---- a name --------------------------------------------------------------------------------- */

static void hold_against_minimum(struct identity *identity)
{
    const struct family *family = identity->match.families[0];
    struct version version = family_match_version(&identity->match);
    const struct version_minimum *minimum =
        version_minimum_of(family->minimums, family->n_minimums, version.text);

    if (!minimum || !version.text[0])
        return;
    struct version least = version;
    least.text = minimum->version;
    identity->minimum = minimum->version;
    identity->below = version_compare(&version, &least) == VERSION_OLDER;
}

void identity_of(const struct families *families, const char *path, const char *name,
                 struct identity *ret_identity)
{
    struct identity *identity = ret_identity;

    *identity = (struct identity){ .name = name };
    family_identify(families, path, &identity->match);
    if (identity->match.verdict != FAMILY_KNOWN)
        return;
    identity->n_parts = family_decode(identity->match.families[0], identity->match.version,
                                      identity->parts);
    hold_against_minimum(identity);
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static int add_family(json_object *object, const struct family *family)
{
    int r = filter_add(object, "family", family->name);

    if (r == 0)
        r = filter_add(object, "vendor", family->vendor);
    if (r == 0)
        r = filter_add(object, "product", family->product);
    if (r == 0 && family->minimum_memory > 0)
        r = json_add(object, "minimum-memory", json_object_new_uint64(family->minimum_memory));
    return r;
}

static int add_candidates(json_object *object, const struct family_match *match)
{
    json_object *candidates = json_object_new_array();
    int r = json_add(object, "candidates", candidates);

    for (size_t i = 0; r == 0 && i < match->n_families; i++) {
        json_object *candidate = json_object_new_object();

        if (!candidate || json_object_array_add(candidates, candidate) < 0) {
            json_object_put(candidate);
            return -ENOMEM;
        }
        r = add_family(candidate, match->families[i]);
    }
    return r;
}

static int add_parts(json_object *object, const struct identity *identity)
{
    json_object *parts = json_object_new_array();
    int r = json_add(object, "parts", parts);

    for (size_t i = 0; r == 0 && i < identity->n_parts; i++) {
        json_object *part = json_object_new_object();

        if (!part || json_object_array_add(parts, part) < 0) {
            json_object_put(part);
            return -ENOMEM;
        }
        r = filter_add(part, "name", identity->parts[i].name);
        if (r == 0)
            r = filter_add(part, "text", identity->parts[i].text);
    }
    return r;
}

static int add_known(json_object *object, const struct identity *identity)
{
    const struct family_match *match = &identity->match;
    int r = add_family(object, match->families[0]);

    if (r == 0)
        r = filter_add(object, "note", match->families[0]->note);
    if (r == 0)
        r = filter_add(object, "by", match->by_folder ? "folder" : "name");
    if (r < 0 || !match->version[0])
        return r;
    r = filter_add(object, "version", match->version);
    if (r == 0)
        r = filter_add(object, "scheme", match->scheme);
    if (r == 0 && identity->n_parts > 0)
        r = add_parts(object, identity);
    if (r == 0 && identity->minimum) {
        r = filter_add(object, "minimum-version", identity->minimum);
        if (r == 0)
            r = json_add(object, "below-minimum", json_object_new_boolean(identity->below));
    }
    return r;
}

int identity_json(const struct identity *identity, json_object **ret_object)
{
    static const char *const verdicts[] = {
        [FAMILY_UNKNOWN] = "unknown",
        [FAMILY_KNOWN] = "known",
        [FAMILY_AMBIGUOUS] = "ambiguous",
    };
    _cleanup_(json_object_putp) json_object *object = json_object_new_object();
    int r = object ? filter_add(object, "filename", identity->name) : -ENOMEM;

    if (r == 0)
        r = filter_add(object, "verdict", verdicts[identity->match.verdict]);
    if (r == 0 && identity->match.verdict == FAMILY_KNOWN)
        r = add_known(object, identity);
    if (r == 0 && identity->match.verdict == FAMILY_AMBIGUOUS)
        r = add_candidates(object, &identity->match);
    if (r == 0)
        *ret_object = TAKE_PTR(object);
    return r;
}

/* ---- for people ----------------------------------------------------------------------------- */

static char *text_known(const struct identity *identity)
{
    const struct family *family = identity->match.families[0];
    _cleanup_free_ char *version = text_escape_string(identity->match.version);
    char *text = NULL;
    size_t length;
    FILE *stream = version ? open_memstream(&text, &length) : NULL;

    if (!stream)
        return NULL;
    (void)fprintf(stream, "%s %s, %s", family->vendor, family->product,
                  *version ? version : "version not known");
    for (size_t i = 0; i < identity->n_parts; i++) {
        _cleanup_free_ char *part = text_escape_string(identity->parts[i].text);

        (void)fprintf(stream, "%s %s %s", i == 0 ? ":" : ",", identity->parts[i].name,
                      part ? part : "");
    }
    return fclose(stream) == 0 ? text : NULL;
}

static char *text_ambiguous(const struct family_match *match)
{
    char *text = NULL;
    size_t length;
    FILE *stream = open_memstream(&text, &length);

    if (!stream)
        return NULL;
    (void)fprintf(stream, "ambiguous; the name may be of ");
    for (size_t i = 0; i < match->n_families; i++)
        (void)fprintf(stream, "%s%s %s (%s)", i == 0 ? "" : ", ", match->families[i]->vendor,
                      match->families[i]->product, match->families[i]->name);
    return fclose(stream) == 0 ? text : NULL;
}

char *identity_text(const struct identity *identity)
{
    switch (identity->match.verdict) {
    case FAMILY_KNOWN:
        return text_known(identity);
    case FAMILY_AMBIGUOUS:
        return text_ambiguous(&identity->match);
    default:
        return strdup("unknown: no family has such a name");
    }
}
