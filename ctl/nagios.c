/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* status --nagios: one line and performance data by the guidelines of the Monitoring Plugins. */
#include "ctl/nagios.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ctl/brief.h"
#include "ctl/facts.h"
#include "ctl/source.h"
#include "helpers/text.h"

#define LINE_MAX_BYTES 4096     /* with its newline: what old readers take of a plugin */
#define TEXT_MAX_BYTES 1500     /* of these, before the performance data */
#define OVERDUE_USEC (6 * 3600 * USEC_PER_SEC)  /* as QcauditPassOverdue of the rules has it */

/* ---- words that are safe ------------------------------------------------------------------ */

/* True for a character that would end the text or a label, or mean something to a shell. */
static bool is_special(char c, bool label)
{
    return (unsigned char)c < ' ' || c == 0x7f || strchr("|'\"`$<>&", c) || (label && c == '=');
}

/* Appends text that is escaped for people already; no more than most bytes of it, in whole
 * characters. */
static void append_safe(FILE *stream, const char *text, bool label, size_t most)
{
    size_t written = 0;

    while (*text) {
        char escaped[5];
        const char *piece = text;
        size_t n = 1, length;

        while (((unsigned char)text[n] & 0xc0) == 0x80)
            n++;
        length = n;
        if (is_special(*text, label)) {
            (void)snprintf(escaped, sizeof(escaped), "\\x%02x", (unsigned char)*text);
            piece = escaped;
            length = 4;
        }
        if (written + length > most) {
            (void)fputs("...", stream);
            return;
        }
        (void)fwrite(piece, 1, length, stream);
        written += length;
        text += n;
    }
}

static const char *state_word(enum nagios_state state)
{
    static const char *const words[] = {
        [NAGIOS_OK] = "OK", [NAGIOS_WARNING] = "WARNING", [NAGIOS_CRITICAL] = "CRITICAL",
        [NAGIOS_UNKNOWN] = "UNKNOWN",
    };

    return words[state];
}

/* ---- the state ---------------------------------------------------------------------------- */

/* An error is one: what it is about is lost, or will be, unless somebody does something. */
static enum nagios_state state_of_finding(json_object *worst)
{
    if (!worst)
        return NAGIOS_OK;
    return severity_status(row_raw(worst, "severity")) > 1 ? NAGIOS_CRITICAL : NAGIOS_WARNING;
}

/* Names of the datastores in this state, "lab, backup"; NULL: none, or no memory. */
static char *datastores_that_are(json_object *status, const char *state)
{
    json_object *rows = row_member(status, "datastores");
    char *text = NULL;

    for (size_t i = 0; rows && i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        const char *this = row_raw(row, "state");
        _cleanup_free_ char *name = row_text(row, "name");
        char *longer;

        if (!name || !this || strcmp(this, state) != 0)
            continue;
        if (asprintf(&longer, "%s%s%s", text ? text : "", text ? ", " : "", name) < 0)
            break;
        free(text);
        text = longer;
    }
    return text;
}

/* Why what is known cannot be relied on, malloc'd; NULL: it can. */
static char *doubt(json_object *status)
{
    json_object *error = row_member(status, "store-error");
    _cleanup_free_ char *offline = datastores_that_are(status, "offline");
    char *text = NULL;

    if (error && asprintf(&text, "qcauditd cannot write its database: %s",
                          strerror(abs(json_object_get_int(error)))) < 0)
        return NULL;
    if (!error && offline && asprintf(&text, "not there: datastore %s", offline) < 0)
        return NULL;
    return text;
}

/* Is the last pass so old that something must be wrong? By what is to be between two. Where all is
 * paused on purpose, nothing is. */
static bool is_overdue(json_object *status, uint64_t now)
{
    json_object *rows = row_member(status, "datastores");
    uint64_t last = row_number(status, "last-pass"), next = row_number(status, "next-pass"),
             bound = next > last ? 2 * (next - last) : 0;
    bool all_paused = true;

    for (size_t i = 0; rows && i < json_object_array_length(rows); i++) {
        const char *state = row_raw(json_object_array_get_idx(rows, i), "state");

        all_paused &= state && strcmp(state, "paused") == 0;
    }
    bound = bound > OVERDUE_USEC ? bound : OVERDUE_USEC;
    return !all_paused && now > last && now - last > bound;
}

/* Nothing is found because nothing, or not all, was looked at lately; NULL: all was. */
static char *not_looked(json_object *status, uint64_t now)
{
    json_object *datastores = row_member(status, "datastores");
    uint64_t images = row_number(status, "images"), audited = row_number(status, "images-audited"),
             last = row_number(status, "last-pass");
    char age[TEXT_DURATION_MAX], *text = NULL;

    if (!datastores || json_object_array_length(datastores) == 0)
        return strdup("nothing is audited: there is no datastore");
    if (last > 0 && is_overdue(status, now) &&
        asprintf(&text, "nothing was looked for since the last pass, which ended %s",
                 text_age(last, now, age)) < 0)
        return NULL;
    if (last == 0 &&
        asprintf(&text, "the first pass is not complete: nothing found so far, with %" PRIu64
                        " of %" PRIu64 " image%s audited",
                 audited, images, images == 1 ? "" : "s") < 0)
        return NULL;
    return text;
}

static char *well_text(json_object *status, uint64_t now)
{
    uint64_t images = row_number(status, "images"), audited = row_number(status, "images-audited");
    char age[TEXT_DURATION_MAX], *text;

    if (asprintf(&text, "nothing above info is open: %" PRIu64 " of %" PRIu64 " image%s audited, "
                        "last looked for %s",
                 audited, images, images == 1 ? "" : "s",
                 text_age(row_number(status, "last-pass"), now, age)) < 0)
        return NULL;
    return text;
}

/* Findings that nobody is told of, and datastores that are left alone on purpose. */
static char *aside_text(json_object *status)
{
    const struct output plain = { .json = JSON_OFF };
    uint64_t n_muted = 0, n_acknowledged = 0;
    _cleanup_free_ char *muted = fact_severities(&plain, row_member(status, "muted"), &n_muted),
                        *known = fact_severities(&plain, row_member(status, "acknowledged"),
                                                 &n_acknowledged),
                        *paused = datastores_that_are(status, "paused");
    char *text;

    if (!muted || !known ||
        asprintf(&text, "%s%s%s%s%s%s%s", row_has(status, "mute-of-all-images")
                                              ? "; every image is muted" : "",
                 n_muted > 0 ? "; muted: " : "", n_muted > 0 ? muted : "",
                 n_acknowledged > 0 ? "; acknowledged: " : "", n_acknowledged > 0 ? known : "",
                 paused ? "; paused: " : "", paused ? paused : "") < 0)
        return NULL;
    return text;
}

/* ---- performance data --------------------------------------------------------------------- */

struct line {
    FILE *stream;
    size_t used;                /* bytes of the whole line */
    bool full;                  /* what comes now would not fit */
};

/* One item; none is cut. */
static void put_item(struct line *line, const char *label, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void put_item(struct line *line, const char *label, const char *format, ...)
{
    char *item = NULL, *value = NULL;
    size_t size = 0;
    FILE *stream;
    va_list ap;

    va_start(ap, format);
    if (vasprintf(&value, format, ap) < 0)
        value = NULL;
    va_end(ap);
    stream = value ? open_memstream(&item, &size) : NULL;
    if (stream) {
        (void)fputs(" '", stream);
        append_safe(stream, label, true, 200);
        (void)fprintf(stream, "'=%s", value);
        if (fclose(stream) != 0)
            size = 0;
        line->full = line->full || line->used + size + 1 > LINE_MAX_BYTES;
        if (item && size > 0 && !line->full) {
            (void)fwrite(item, 1, size, line->stream);
            line->used += size;
        }
    }
    free(item);
    free(value);
}

static uint64_t total_of(json_object *counts)
{
    uint64_t total = 0;

    if (!counts)
        return 0;
    json_object_object_foreach(counts, severity, n) {
        (void)severity;
        total += json_object_get_uint64(n);
    }
    return total;
}

static void put_datastores(struct line *line, json_object *rows)
{
    for (size_t i = 0; rows && i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        uint64_t size = row_number(row, "size"), available = row_number(row, "available");
        _cleanup_free_ char *name = row_text(row, "name"), *label = NULL;

        if (size > 0 && available <= size && name && asprintf(&label, "used %s", name) >= 0)
            put_item(line, label, "%" PRIu64 "B;;;0;%" PRIu64, size - available, size);
    }
}

static void put_data(struct line *line, json_object *status, uint64_t now)
{
    json_object *open = row_member(status, "open");
    uint64_t images = row_number(status, "images"), last = row_number(status, "last-pass");

    put_item(line, "critical", "%" PRIu64 ";;0;0", row_number(open, "critical"));
    put_item(line, "error", "%" PRIu64 ";;0;0", row_number(open, "error"));
    put_item(line, "warning", "%" PRIu64 ";0;;0", row_number(open, "warning"));
    put_item(line, "acknowledged", "%" PRIu64 ";;;0", total_of(row_member(status, "acknowledged")));
    put_item(line, "muted", "%" PRIu64 ";;;0", total_of(row_member(status, "muted")));
    put_item(line, "images", "%" PRIu64 ";;;0", images);
    put_item(line, "audited", "%" PRIu64 ";;;0;%" PRIu64, row_number(status, "images-audited"),
             images);
    put_item(line, "chains", "%" PRIu64 ";;;0", row_number(status, "chains"));
    put_item(line, "depth", "%" PRIu64 ";;;0", row_number(status, "depth-max"));
    put_item(line, "size", "%" PRIu64 "B;;;0", row_number(status, "images-size"));
    put_item(line, "allocated", "%" PRIu64 "B;;;0", row_number(status, "images-allocated"));
    if (last > 0)
        put_item(line, "last pass", "%" PRIu64 "s;;;0",
                 now > last ? (now - last) / USEC_PER_SEC : 0);
    put_datastores(line, row_member(status, "datastores"));
}

/* ---- the line ----------------------------------------------------------------------------- */

static int line_text(const struct ctl *ctl, json_object *status, uint64_t now,
                     enum nagios_state *ret_state, char **ret_text)
{
    const struct output plain = { .json = JSON_OFF, .tool = ctl->output.tool };
    json_object *worst = fact_worst(status);
    enum nagios_state state = state_of_finding(worst);
    _cleanup_free_ char *doubted = doubt(status), *main_text = NULL, *aside = aside_text(status);
    _cleanup_free_ char *found = worst ? brief_worst(&plain, worst, row_member(status, "open"))
                                       : NULL,
                        *unseen = worst ? NULL : not_looked(status, now);
    int n;

    if (doubted && state != NAGIOS_CRITICAL)
        state = NAGIOS_UNKNOWN;
    if (unseen)
        state = NAGIOS_UNKNOWN;
    if (!worst && !unseen)
        main_text = well_text(status, now);
    else
        main_text = worst ? TAKE_PTR(found) : TAKE_PTR(unseen);
    if (!main_text || !aside)
        return -ENOMEM;
    /* The reason for the state comes first. */
    n = !doubted ? asprintf(ret_text, "%s%s", main_text, aside)
        : state == NAGIOS_UNKNOWN ? asprintf(ret_text, "%s; %s%s", doubted, main_text, aside)
                                  : asprintf(ret_text, "%s; %s%s", main_text, doubted, aside);
    if (n < 0)
        return -ENOMEM;
    *ret_state = state;
    return 0;
}

int nagios_print(const struct ctl *ctl, json_object *status, uint64_t now)
{
    _cleanup_free_ char *text = NULL, *all = NULL;
    struct line line = { .full = false };
    enum nagios_state state = NAGIOS_UNKNOWN;
    size_t size = 0;
    int r = line_text(ctl, status, now, &state, &text);

    if (r < 0)
        return complain(r, "Cannot show the status");
    line.stream = open_memstream(&all, &size);
    if (!line.stream)
        return complain(-ENOMEM, "Cannot show the status");
    (void)fprintf(line.stream, "%s - ", state_word(state));
    append_safe(line.stream, text, false, TEXT_MAX_BYTES);
    (void)fputs(" |", line.stream);
    (void)fflush(line.stream);
    line.used = size;
    put_data(&line, status, now);
    if (fclose(line.stream) != 0)
        return complain(-ENOMEM, "Cannot show the status");
    (void)printf("%s\n", all);
    return (int)state;
}

/* ---- failures ----------------------------------------------------------------------------- */

bool nagios_is_wanted(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strlen(argv[i]) > strlen("--na") &&
            strncmp(argv[i], "--nagios", strlen(argv[i])) == 0)
            return true;
    return false;
}

int nagios_begin(void)
{
    int fd = memfd_create("stderr", MFD_CLOEXEC), r = 0;

    if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
        r = -errno;
    if (fd >= 0)
        (void)close(fd);
    return r;
}

int nagios_fail(int error)
{
    char said[LINE_MAX_BYTES - 512], *rest = NULL, *words;
    ssize_t n;

    (void)fflush(stderr);
    n = pread(STDERR_FILENO, said, sizeof(said) - 1, 0);
    said[n > 0 ? n : 0] = '\0';
    words = strtok_r(said, "\n", &rest);
    (void)printf("%s - ", state_word(NAGIOS_UNKNOWN));
    append_safe(stdout, words ? words : strerror(abs(error)), false, TEXT_MAX_BYTES);
    (void)putchar('\n');
    /* more lines are "long output" */
    while (words && (words = strtok_r(NULL, "\n", &rest))) {
        append_safe(stdout, words, false, TEXT_MAX_BYTES);
        (void)putchar('\n');
    }
    return NAGIOS_UNKNOWN;
}
