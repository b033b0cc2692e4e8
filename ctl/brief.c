/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* status --brief: one line, that all is well or what is worst. */
#include "ctl/brief.h"

#include <errno.h>
#include <inttypes.h>

#include "ctl/facts.h"
#include "ctl/source.h"
#include "helpers/text.h"

char *brief_worst(const struct output *output, json_object *worst, json_object *open)
{
    _cleanup_free_ char *severity = row_text(worst, "severity"), *name = row_text(worst, "name"),
                        *subject = fact_subject(worst, ""), *counts = NULL,
                        *summary = row_has(worst, "summary") ? row_prose(worst, "summary")
                                                             : strdup("");
    uint64_t total = 0;
    char *text;

    counts = fact_severities(output, open, &total);
    if (!severity || !name || !subject || !summary || !counts ||
        asprintf(&text, "%s%s%s: %s: %s%s%s (%s show %" PRIu64 ")%s%s",
                 output_colour(output, severity_colour(severity)), severity,
                 output_colour(output, COLOUR_OFF), name, subject, *summary ? " " : "", summary,
                 output_tool(output), row_number(worst, "id"), total > 1 ? "; in all: " : "",
                 total > 1 ? counts : "") < 0)
        return NULL;
    return text;
}

/* Nothing is wrong, as far as it is known. */
static void print_well(json_object *status, bool any_muted, uint64_t now)
{
    json_object *datastores = row_member(status, "datastores");
    uint64_t images = row_number(status, "images"), audited = row_number(status, "images-audited"),
             last = row_number(status, "last-pass");
    char age[TEXT_DURATION_MAX];

    if (!datastores || json_object_array_length(datastores) == 0)
        (void)printf("nothing is audited: there is no datastore");
    else if (last == 0 || audited < images)
        (void)printf("nothing %s so far, with %" PRIu64 " of %" PRIu64 " image%s audited",
                     any_muted ? "is open" : "found", audited, images,
                     images == 1 ? "" : "s");
    else
        (void)printf("%s: %" PRIu64 " image%s, last looked for %s",
                     any_muted ? "nothing is open" : "all is well", images,
                     images == 1 ? "" : "s", text_age(last, now, age));
}

int brief_print(const struct ctl *ctl, json_object *status, uint64_t now)
{
    json_object *worst = fact_worst(status);
    const struct output plain = { .json = JSON_OFF };
    uint64_t n_muted = 0;
    _cleanup_free_ char *muted = fact_severities(&plain, row_member(status, "muted"), &n_muted);
    bool all_muted = row_has(status, "mute-of-all-images");
    int r = muted ? 0 : -ENOMEM;

    if (r < 0)
        return r;
    if (ctl->offline)
        (void)printf("qcauditd is not running; its database says: ");
    if (worst) {
        _cleanup_free_ char *text = brief_worst(&ctl->output, worst, row_member(status, "open"));

        r = text ? 0 : -ENOMEM;
        (void)fputs(text ? text : "", stdout);
    } else
        print_well(status, all_muted || n_muted > 0, now);
    /* Findings that nobody is told of. */
    if (all_muted)
        (void)printf("; every image is muted (%s mutes)", output_tool(&ctl->output));
    if (n_muted > 0)
        (void)printf("; %" PRIu64 " muted: %s (%s findings --muted)", n_muted, muted,
                     output_tool(&ctl->output));
    (void)putchar('\n');
    return r;
}
