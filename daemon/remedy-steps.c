/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Remedies being written: steps, quoting, and what many remedies ask of an image first. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/remedy-internal.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

__attribute__((format(printf, 3, 0))) static void remedy_add(struct remedy *remedy, const char *key,
                                                             const char *format, va_list arguments)
{
    _cleanup_free_ char *text = NULL;
    json_object *step, *string = NULL;

    if (remedy->error < 0)
        return;
    if (vasprintf(&text, format, arguments) < 0) {
        text = NULL;
        remedy->error = -ENOMEM;
        return;
    }
    step = json_object_new_object();
    string = json_object_new_string(text);
    if (!step || !string || json_object_object_add(step, key, string) < 0) {
        json_object_put(string);
        json_object_put(step);
        remedy->error = -ENOMEM;
    } else if (json_object_array_add(remedy->steps, step) < 0) {
        json_object_put(step);
        remedy->error = -ENOMEM;
    }
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
DEFINE_STEP(remedy_command, "command")
DEFINE_STEP(remedy_text, "text")

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

const struct layer_report *remedy_layer(const struct image *image)
{
    const struct audit_report *report = image->audit ? image->audit->report : NULL;

    return report && report->error == 0 && report->n_layers > 0 ? &report->layers[0] : NULL;
}

/* Nothing is known to be wrong with its tables. */
bool remedy_image_is_sound(const struct image *image)
{
    const struct layer_report *layer = remedy_layer(image);

    if (!layer ||
        (layer->info.incompatible_features & (QCA_INCOMPAT_CORRUPT | QCA_INCOMPAT_DIRTY)) ||
        layer->check.burst_leaks >= REMEDY_LEAKS_ARE_BURST)
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

void remedy_step_stop(struct remedy *remedy, const struct image *image, const char *quoted)
{
    remedy_precondition(remedy,
                        "%sthe domain that uses %s is shut off, and no other program has it open",
                        image->use != FILES_UNUSED ? "it is in use now: " : "", quoted);
}

void remedy_step_copy(struct remedy *remedy, const char *path)
{
    _cleanup_free_ char *copy = NULL, *quoted = remedy_quote(remedy, path), *quoted_copy = NULL;

    if (quoted && asprintf(&copy, "%s.before-repair", path) < 0) {
        copy = NULL;
        remedy->error = -ENOMEM;
    }
    if (copy)
        quoted_copy = remedy_quote(remedy, copy);
    if (quoted_copy)
        remedy_command(remedy, "cp --reflink=auto -- %s %s", quoted, quoted_copy);
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
