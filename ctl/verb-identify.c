/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* identify: which appliance or cloud image a name is of, and what its version consists of. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

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

static int add_json(json_object *all, const struct identity *identity)
{
    json_object *object;
    int r = identity_json(identity, &object);

    if (r == 0 && json_object_array_add(all, object) < 0) {
        json_object_put(object);
        r = -ENOMEM;
    }
    return r;
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

static int print_identity(const struct output *output, const struct identity *identity)
{
    _cleanup_free_ char *shown = text_escape_string(identity->name);
    _cleanup_free_ char *text = identity_text(identity);

    if (!shown || !text)
        return -ENOMEM;
    (void)printf("%s%s%s\n", output_colour(output, COLOUR_BOLD), shown,
                 output_colour(output, COLOUR_OFF));
    print_line(output, "is", text);
    return identity->match.verdict == FAMILY_KNOWN ? print_family(output, identity) : 0;
}

int verb_identify(struct ctl *ctl, int argc, char **argv)
{
    bool json = ctl->output.json != JSON_OFF;
    _cleanup_(json_object_putp) json_object *all = json ? json_object_new_array() : NULL;
    _cleanup_(families_freep) struct families *families = NULL;
    int status = 0, r = json && !all ? -ENOMEM : identity_families(ctl, false, &families);

    for (int i = 0; r >= 0 && i < argc; i++) {
        struct identity identity;

        r = identify(families, argv[i], &identity);
        if (r >= 0 && i > 0 && !json)
            (void)putchar('\n');
        if (r >= 0)
            r = json ? add_json(all, &identity) : print_identity(&ctl->output, &identity);
        if (r >= 0 && identity.match.verdict != FAMILY_KNOWN)
            status = NOT_KNOWN;
    }
    if (r < 0)
        return r;
    if (json && output_json(&ctl->output, all) < 0)
        return complain(-ENOMEM, "Cannot show the result");
    return status;
}
