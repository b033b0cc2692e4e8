/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* identify: which appliance or cloud image a name is of, what its version consists of, and whether
 * the file is what catalogues know by that name. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "ctl/catalogue-known.h"
#include "ctl/identity.h"
#include "helpers/text.h"

#define LABEL_WIDTH 8

enum { NOT_KNOWN = 1 };

/* ---- what is looked at ---------------------------------------------------------------------- */

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

static int identify(const struct families *families, const char *argument,
                    struct identity *ret_identity)
{
    _cleanup_free_ char *path = NULL;
    int r = full_path(argument, &path);

    if (r < 0)
        return complain(r, "Cannot look at it");
    identity_of(families, path, argument, ret_identity);
    return 0;
}

static int add_json(json_object *all, const struct identity *identity, const struct known *known)
{
    json_object *object;
    int r = identity_json(identity, &object);

    if (r < 0)
        return r;
    if (json_object_array_add(all, object) < 0) {
        json_object_put(object);
        return -ENOMEM;
    }
    return known_json(known, object);
}

/* ---- the screen ----------------------------------------------------------------------------- */

static void print_line(const struct output *output, const char *label, const char *text)
{
    output_label(output, LABEL_WIDTH, label);
    output_wrapped(output, LABEL_WIDTH + 2, LABEL_WIDTH + 2, text);
}

static int print_family(const struct output *output, const struct identity *identity)
{
    const struct family *family = identity->match.families[0];
    _cleanup_free_ char *line = NULL, *minimum = NULL;
    char size[TEXT_SIZE_MAX];

    if (asprintf(&line, "%s%s", family->name,
                 identity->match.by_folder ? ", by the folder's name" : "") < 0) {
        line = NULL;
        return -ENOMEM;
    }
    print_line(output, "family", line);
    if (family->minimum_memory > 0)
        print_line(output, "memory", text_size(family->minimum_memory, size));
    if (identity->minimum) {
        if (asprintf(&minimum, "%s%s", identity->minimum,
                     identity->below ? ": it is older" : "") < 0) {
            minimum = NULL;
            return -ENOMEM;
        }
        print_line(output, "minimum", minimum);
    }
    if (family->note)
        print_line(output, "note", family->note);
    return 0;
}

static int print_identity(const struct output *output, const struct identity *identity,
                          const struct known *known)
{
    _cleanup_free_ char *shown = text_escape_string(identity->name);
    _cleanup_free_ char *text = identity_text(identity), *content = NULL;
    int r = 0;

    if (!shown || !text)
        return -ENOMEM;
    (void)printf("%s%s%s\n", output_colour(output, COLOUR_BOLD), shown,
                 output_colour(output, COLOUR_OFF));
    print_line(output, "is", text);
    if (identity->match.verdict == FAMILY_KNOWN)
        r = print_family(output, identity);
    if (r < 0 || !known->asked)
        return r;
    content = known_text(known);
    if (!content)
        return -ENOMEM;
    print_line(output, "content", content);
    return 0;
}

/* One argument. 0, or NOT_KNOWN. */
static int identify_one(struct ctl *ctl, const struct families *families,
                        struct known_catalogues *catalogues, const char *argument,
                        json_object *all)
{
    struct identity identity;
    struct known known;
    int r = identify(families, argument, &identity);

    if (r >= 0)
        r = known_of(catalogues, families, &identity, &known);
    if (r >= 0)
        r = all ? add_json(all, &identity, &known)
                : print_identity(&ctl->output, &identity, &known);
    if (r < 0)
        return r;
    return known.asked ? (known_is_good(&known) ? 0 : NOT_KNOWN)
                       : (identity.match.verdict == FAMILY_KNOWN ? 0 : NOT_KNOWN);
}

int verb_identify(struct ctl *ctl, int argc, char **argv)
{
    bool json = ctl->output.json != JSON_OFF;
    _cleanup_(json_object_putp) json_object *all = json ? json_object_new_array() : NULL;
    _cleanup_(known_catalogues_freep) struct known_catalogues *catalogues = NULL;
    _cleanup_(families_freep) struct families *families = NULL;
    int status = 0, r = json && !all ? -ENOMEM : identity_families(ctl, false, &families);

    if (r >= 0)
        r = known_catalogues_new(ctl, &catalogues);
    for (int i = 0; r >= 0 && i < argc; i++) {
        if (i > 0 && !json)
            (void)putchar('\n');
        r = identify_one(ctl, families, catalogues, argv[i], all);
        status = r > status ? r : status;
    }
    if (r < 0)
        return r;
    if (json && output_json(&ctl->output, all) < 0)
        return complain(-ENOMEM, "Cannot show the result");
    return status;
}
