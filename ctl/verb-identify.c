/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* identify: which appliance or cloud image a name is of, and what its version consists of. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "ctl/ctl.h"
#include "ctl/source.h"
#include "helpers/json-text.h"
#include "helpers/text.h"
#include "provenance/family.h"

#define VENDOR_FILE PKGDATADIR "/families.yaml"
#define SITE_FOLDER SYSCONFDIR "/qcaudit/families.d"
#define LABEL_WIDTH 8

enum { NOT_KNOWN = 1 };

/* ---- the families --------------------------------------------------------------------------- */

static void say_mistake(void *userdata, const char *file, unsigned line, unsigned column,
                        const char *message)
{
    if (line > 0)
        (void)complain(0, "%s:%u:%u: %s", file, line, column, message);
    else
        (void)complain(0, "%s: %s", file, message);
}

/* Those of the package with the site's, or those of --families with families.d beside it. */
static int load(const struct ctl *ctl, struct families **ret_families)
{
    const char *file = ctl->families ? ctl->families : VENDOR_FILE;
    _cleanup_free_ char *folder = NULL;
    const char *slash = strrchr(file, '/');

    if (asprintf(&folder, "%.*sfamilies.d", slash ? (int)(slash - file) + 1 : 0, file) < 0)
        return complain(-ENOMEM, "Cannot read the families");
    int r = families_load(file, ctl->families ? folder : SITE_FOLDER, say_mistake, NULL,
                          ret_families);
    return r == -EINVAL ? r : r < 0 ? complain(r, "Cannot read the families") : 0;
}

/* ---- what is looked at ---------------------------------------------------------------------- */

/* One argument, and what is known of it. */
struct identified {
    const char *argument;
    struct family_match match;
    struct family_part parts[FAMILY_PARTS_MAX];
    size_t n_parts;
    const char *minimum;        /* version, of its train; NULL: none is said */
    bool below;                 /* older than that */
};

/* The argument as a path that names its folder, where a file of that name exists: EVE-NG's disks
 * are known by their folder alone. A link goes by its own name. */
static int full_path(const char *argument, char **ret_path)
{
    _cleanup_free_ char *folder = NULL, *real = NULL;
    size_t n = strlen(argument);
    struct stat st;
    int r;

    if (lstat(argument, &st) < 0 || n == 0) {
        *ret_path = strdup(argument);
        return *ret_path ? 0 : -ENOMEM;
    }
    while (n > 1 && argument[n - 1] == '/')
        n--;
    const char *slash = memrchr(argument, '/', n);
    const char *base = slash ? slash + 1 : argument;
    if (asprintf(&folder, "%.*s", slash ? (int)(slash - argument) + 1 : 1,
                 slash ? argument : ".") < 0) {
        folder = NULL;
        return -ENOMEM;
    }
    real = realpath(folder, NULL);
    r = asprintf(ret_path, "%s/%.*s%s", real ? real : folder, (int)(n - (size_t)(base - argument)),
                 base, S_ISDIR(st.st_mode) ? "/" : "");
    return r < 0 ? -ENOMEM : 0;
}

static void hold_against_minimum(struct identified *identified)
{
    const struct family *family = identified->match.families[0];
    struct version version = family_match_version(&identified->match);
    const struct version_minimum *minimum =
        version_minimum_of(family->minimums, family->n_minimums, version.text);

    if (!minimum || !version.text[0])
        return;
    struct version least = version;
    least.text = minimum->version;
    identified->minimum = minimum->version;
    identified->below = version_compare(&version, &least) == VERSION_OLDER;
}

static int identify(const struct families *families, const char *argument,
                    struct identified *ret_identified)
{
    struct identified *identified = ret_identified;
    _cleanup_free_ char *path = NULL;
    int r = full_path(argument, &path);

    if (r < 0)
        return complain(r, "Cannot look at it");
    *identified = (struct identified){ .argument = argument };
    family_identify(families, path, &identified->match);
    if (identified->match.verdict != FAMILY_KNOWN)
        return 0;
    identified->n_parts = family_decode(identified->match.families[0], identified->match.version,
                                        identified->parts);
    hold_against_minimum(identified);
    return 0;
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

static int add_parts(json_object *object, const struct identified *identified)
{
    json_object *parts = json_object_new_array();
    int r = json_add(object, "parts", parts);

    for (size_t i = 0; r == 0 && i < identified->n_parts; i++) {
        json_object *part = json_object_new_object();

        if (!part || json_object_array_add(parts, part) < 0) {
            json_object_put(part);
            return -ENOMEM;
        }
        r = filter_add(part, "name", identified->parts[i].name);
        if (r == 0)
            r = filter_add(part, "text", identified->parts[i].text);
    }
    return r;
}

static int add_known(json_object *object, const struct identified *identified)
{
    const struct family_match *match = &identified->match;
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
    if (r == 0 && identified->n_parts > 0)
        r = add_parts(object, identified);
    if (r == 0 && identified->minimum) {
        r = filter_add(object, "minimum-version", identified->minimum);
        if (r == 0)
            r = json_add(object, "below-minimum", json_object_new_boolean(identified->below));
    }
    return r;
}

static int add_json(json_object *all, const struct identified *identified)
{
    static const char *const verdicts[] = {
        [FAMILY_UNKNOWN] = "unknown",
        [FAMILY_KNOWN] = "known",
        [FAMILY_AMBIGUOUS] = "ambiguous",
    };
    json_object *object = json_object_new_object();

    if (!object || json_object_array_add(all, object) < 0) {
        json_object_put(object);
        return -ENOMEM;
    }
    int r = filter_add(object, "filename", identified->argument);
    if (r == 0)
        r = filter_add(object, "verdict", verdicts[identified->match.verdict]);
    if (r == 0 && identified->match.verdict == FAMILY_KNOWN)
        r = add_known(object, identified);
    if (r == 0 && identified->match.verdict == FAMILY_AMBIGUOUS)
        r = add_candidates(object, &identified->match);
    return r;
}

/* ---- the screen ----------------------------------------------------------------------------- */

static void print_line(const struct output *output, const char *label, const char *text)
{
    output_label(output, LABEL_WIDTH, label);
    output_wrapped(output, LABEL_WIDTH + 2, LABEL_WIDTH + 2, text);
}

/* "Cisco NX-OSv 9000, 7.0(3)I7(4): release 7.0(3), train I7, rebuild 4" */
static char *sentence(const struct identified *identified)
{
    const struct family *family = identified->match.families[0];
    _cleanup_free_ char *version = text_escape_string(identified->match.version);
    char *text = NULL;
    size_t length;
    FILE *stream = version ? open_memstream(&text, &length) : NULL;

    if (!stream)
        return NULL;
    (void)fprintf(stream, "%s %s, %s", family->vendor, family->product,
                  *version ? version : "version not known");
    for (size_t i = 0; i < identified->n_parts; i++) {
        _cleanup_free_ char *part = text_escape_string(identified->parts[i].text);

        (void)fprintf(stream, "%s %s %s", i == 0 ? ":" : ",", identified->parts[i].name,
                      part ? part : "");
    }
    return fclose(stream) == 0 ? text : NULL;
}

static int print_known(const struct output *output, const struct identified *identified)
{
    const struct family *family = identified->match.families[0];
    _cleanup_free_ char *text = sentence(identified), *line = NULL;
    char size[TEXT_SIZE_MAX];

    if (!text)
        return -ENOMEM;
    print_line(output, "is", text);
    if (asprintf(&line, "%s%s", family->name,
                 identified->match.by_folder ? ", by the folder's name" : "") < 0) {
        line = NULL;
        return -ENOMEM;
    }
    print_line(output, "family", line);
    if (family->minimum_memory > 0) {
        (void)text_size(family->minimum_memory, size);
        print_line(output, "memory", size);
    }
    if (identified->minimum) {
        free(line);
        if (asprintf(&line, "%s%s", identified->minimum,
                     identified->below ? ": it is older" : "") < 0) {
            line = NULL;
            return -ENOMEM;
        }
        print_line(output, "minimum", line);
    }
    if (family->note)
        print_line(output, "note", family->note);
    return 0;
}

static int print_ambiguous(const struct output *output, const struct family_match *match)
{
    _cleanup_free_ char *text = NULL;
    size_t length;
    FILE *stream = open_memstream(&text, &length);

    if (!stream)
        return -ENOMEM;
    (void)fprintf(stream, "ambiguous; the name may be of ");
    for (size_t i = 0; i < match->n_families; i++)
        (void)fprintf(stream, "%s%s %s (%s)", i == 0 ? "" : ", ", match->families[i]->vendor,
                      match->families[i]->product, match->families[i]->name);
    if (fclose(stream) != 0 || !text)
        return -ENOMEM;
    print_line(output, "is", text);
    return 0;
}

static int print_identified(const struct output *output, const struct identified *identified)
{
    _cleanup_free_ char *shown = text_escape_string(identified->argument);

    if (!shown)
        return -ENOMEM;
    (void)printf("%s%s%s\n", output_colour(output, COLOUR_BOLD), shown,
                 output_colour(output, COLOUR_OFF));
    switch (identified->match.verdict) {
    case FAMILY_KNOWN:
        return print_known(output, identified);
    case FAMILY_AMBIGUOUS:
        return print_ambiguous(output, &identified->match);
    default:
        print_line(output, "is", "unknown: no family has such a name");
        return 0;
    }
}

int verb_identify(struct ctl *ctl, int argc, char **argv)
{
    bool json = ctl->output.json != JSON_OFF;
    _cleanup_(json_object_putp) json_object *all = json ? json_object_new_array() : NULL;
    _cleanup_(families_freep) struct families *families = NULL;
    int status = 0, r = json && !all ? -ENOMEM : load(ctl, &families);

    for (int i = 0; r >= 0 && i < argc; i++) {
        struct identified identified;

        r = identify(families, argv[i], &identified);
        if (r >= 0 && i > 0 && !json)
            (void)putchar('\n');
        if (r >= 0)
            r = json ? add_json(all, &identified) : print_identified(&ctl->output, &identified);
        if (r >= 0 && identified.match.verdict != FAMILY_KNOWN)
            status = NOT_KNOWN;
    }
    if (r < 0)
        return r;
    if (json && output_json(&ctl->output, all) < 0)
        return complain(-ENOMEM, "Cannot show the result");
    return status;
}
