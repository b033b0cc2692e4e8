/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Remedies being written: steps, quoting, and what many remedies ask of an image first. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/remedy/gate.h"
#include "helpers/json-text.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define COMMAND_MAX 65536       /* of steps that are joined to one command */

__attribute__((format(printf, 3, 0))) static void remedy_add(struct remedy *remedy, const char *key,
                                                             const char *format, va_list arguments)
{
    _cleanup_free_ char *text = NULL;
    json_object *step, *string;

    remedy->last = NULL;
    if (remedy->error < 0)
        return;
    if (vasprintf(&text, format, arguments) < 0) {
        text = NULL;
        remedy->error = -ENOMEM;
        return;
    }
    step = json_object_new_object();
    string = json_object_new_string(text);
    if (json_add(step, key, string) < 0) {
        json_object_put(step);
        remedy->error = -ENOMEM;
    } else if (json_object_array_add(remedy->steps, step) < 0) {
        json_object_put(step);
        remedy->error = -ENOMEM;
    } else if (strcmp(key, "command") == 0)
        remedy->last = string;
}

#define DEFINE_STEP(name, key)                                                                     \
    void name(struct remedy *remedy, const char *format, ...)                                      \
    {                                                                                              \
        va_list arguments;                                                                         \
                                                                                                   \
        va_start(arguments, format);                                                               \
        remedy_add(remedy, key, format, arguments);                                                \
        va_end(arguments);                                                                         \
    }

DEFINE_STEP(remedy_precondition, "precondition")
DEFINE_STEP(remedy_text, "text")
DEFINE_STEP(remedy_note, "note")

static void gate_must_be_open(struct remedy *remedy, const struct gate *gate)
{
    if ((!gate || !gate->open || gate->remedy != remedy) && remedy->error == 0)
        remedy->error = -EPERM;
}

void remedy_command(struct remedy *remedy, const struct gate *gate, const char *format, ...)
{
    va_list arguments;

    gate_must_be_open(remedy, gate);
    va_start(arguments, format);
    remedy_add(remedy, "command", format, arguments);
    va_end(arguments);
}

void remedy_and(struct remedy *remedy, const struct gate *gate, const char *format, ...)
{
    _cleanup_free_ char *text = NULL, *joined = NULL;
    va_list arguments;

    gate_must_be_open(remedy, gate);
    if (remedy->error < 0)
        return;
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    if (!remedy->last || !text ||
        asprintf(&joined, "%s && %s", json_object_get_string(remedy->last), text) < 0) {
        joined = NULL;
        remedy->error = remedy->last ? -ENOMEM : -EINVAL;
        return;
    }
    if (strlen(joined) > COMMAND_MAX)
        remedy->error = -E2BIG;
    else if (!json_object_set_string(remedy->last, joined))
        remedy->error = -ENOMEM;
}

void remedy_look(struct remedy *remedy, const char *format, ...)
{
    static const char *const programs[] = { "fuser -v ", "qcauditctl " };
    bool known = false;
    va_list arguments;

    for (size_t i = 0; i < ELEMENTSOF(programs); i++)
        known |= strncmp(format, programs[i], strlen(programs[i])) == 0;
    if (!known && remedy->error == 0)
        remedy->error = -EPERM;
    va_start(arguments, format);
    remedy_add(remedy, "command", format, arguments);
    va_end(arguments);
    remedy->last = NULL;
}

char *remedy_quote(struct remedy *remedy, const char *name)
{
    char *quoted = NULL;
    int r;

    if (remedy->error < 0)
        return NULL;
    r = text_quote_shell(name, &quoted);
    if (r < 0) {
        remedy->error = r;
        return NULL;
    }
    return quoted;
}

bool remedy_name_is_plain(const char *name)
{
    return text_is_safe(name, strlen(name));
}

/* ---- what is known of an image -------------------------------------------------------------- */

bool remedy_leaks_are_burst(const struct graph *graph, const struct image *image)
{
    const struct layer_report *layer = image_layer(image);
    const struct policy *policy = graph_policy(graph);

    return layer && layer->check.leaks > 0 && policy &&
           layer->check.burst_leaks >= policy_thresholds(policy, image->path)->burst_leaks;
}

/* Nothing is known to be wrong with its tables. */
bool remedy_image_is_sound(const struct graph *graph, const struct image *image)
{
    const struct layer_report *layer = image_layer(image);

    if (!layer ||
        (layer->info.incompatible_features & (QCA_INCOMPAT_CORRUPT | QCA_INCOMPAT_DIRTY)) ||
        remedy_leaks_are_burst(graph, image))
        return false;
    return layer->info.format == QCA_FORMAT_RAW ||
           (layer->checked && layer->check.finished && layer->check.corruptions == 0 &&
            layer->check.check_errors == 0);
}

bool remedy_image_is_golden(const struct graph *graph, const struct image *image)
{
    const struct relation *relation = graph_relation(graph, image);

    return relation && relation->golden;
}

/* ---- steps that many remedies share --------------------------------------------------------- */

/* The gate saw that nobody has it open now; so it must stay. */
void remedy_step_stop(struct remedy *remedy, const struct gate *gate, const struct image *image,
                      const char *quoted)
{
    struct usage usage = graph_image_usage(gate->graph, image);
    const struct usage_entry *entry = usage_layer(&usage);
    const struct virt_domain *domain = gate->domain ? gate->domain : entry ? entry->domain : NULL;
    _cleanup_free_ char *name = domain ? remedy_quote(remedy, domain->name) : NULL;

    if (name)
        remedy_precondition(remedy,
                            "domain %s stays shut off, and no other program opens %s, until all "
                            "commands have ended",
                            name, quoted);
    else
        remedy_precondition(remedy, "nothing opens %s until all commands have ended", quoted);
}

/* IMG.before-repair: the copy of an image that is kept beside it. */
char *remedy_copy_name(struct remedy *remedy, const char *path)
{
    char *copy = NULL;

    if (asprintf(&copy, "%s.before-repair", path) < 0) {
        remedy->error = -ENOMEM;
        return NULL;
    }
    return copy;
}

void remedy_gate_copy(struct gate *gate, const struct image *image)
{
    _cleanup_free_ char *copy = remedy_copy_name(gate->remedy, image->path);

    if (!copy)
        return;
    gate_image(gate, image, GATE_COPY);
    gate_target(gate, copy);
    gate_room(gate, copy, image->fingerprint.allocated);
}

/* A new file that only the image's own readers can read. cp does not write through what somebody
 * puts there meanwhile, and what follows is done only when there was nothing. */
void remedy_step_copy(struct remedy *remedy, const struct gate *gate, const struct image *image)
{
    _cleanup_free_ char *copy = remedy_copy_name(remedy, image->path),
                        *quoted = remedy_quote(remedy, image->path), *quoted_copy = NULL;

    if (copy)
        quoted_copy = remedy_quote(remedy, copy);
    if (quoted && quoted_copy)
        remedy_command(remedy, gate,
                       "test ! -e %s && test ! -L %s && cp -nT --reflink=auto "
                       "--preserve=mode,ownership,timestamps -- %s %s",
                       quoted_copy, quoted_copy, quoted, quoted_copy);
}

/* The archive is a new file in the folder of whoever runs it, under a name that nothing has: run
 * again, it keeps another. What came of it stops nothing, as it is incomplete just where tables are
 * damaged, and the copy has all of the image; it comes after that, whose room was looked at. In
 * parentheses, so that a shell that stops it (^Z) does not go on with what follows. Where parents
 * are of a stranger's choice, the copy alone is kept: the archive would have their headers. */
void remedy_step_keep(struct remedy *remedy, const struct gate *gate, const struct image *image)
{
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path);
    _cleanup_gate_ struct gate reading = gate_begin(remedy, gate->graph);
    const struct layer_report *layer = image_layer(image);
    bool evidence, tables = layer && qca_format_has(layer->info.format, QCA_TRAIT_COMMANDS);

    gate_image(&reading, image, GATE_READ);
    evidence = quoted && gate_would_open(&reading);
    if (evidence)
        remedy_text(remedy,
                    "The next command keeps a copy and, in a new file in your home folder "
                    "(qcaudit-evidence-TIME.tar), evidence: %swhat is known of the image, to be "
                    "looked at when it has been repaired or replaced.",
                    tables ? "the tables as they are, and " : "");
    remedy_step_copy(remedy, gate, image);
    if (evidence)
        remedy_and(remedy, gate,
                   "(qcauditctl evidence -o ~/ %s || echo 'Evidence is missing or incomplete: "
                   "that is no reason to stop.')",
                   quoted);
}

void remedy_step_rename_first(struct remedy *remedy)
{
    remedy_text(remedy,
                "The name holds characters that not every shell can quote: rename the file first "
                "(find -inum), then the commands can be given.");
}

void remedy_step_more(struct remedy *remedy, size_t n)
{
    if (n > 0)
        remedy_text(remedy, "And %zu more: their commands are given when these have been run.", n);
}
