/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Options of qcauditctl: which there are, and what their values mean. */
#include "ctl/options.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <time.h>

#include "ctl/metric.h"
#include "ctl/when.h"
#include "helpers/text.h"
#include "qcaudit/qcaudit.h"

enum { OPTION_LONG = 0x100 };

static const struct option_row options[] = {
    {"help", 'h', NULL, true, "show this help, or that of the verb"},
    {"version", 0, NULL, true, "show the version"},
    {"host", 'H', "HOST", true, "ask the daemon of another host, by ssh: [USER@]HOST"},
    {"socket", 0, "PATH", true, "where the daemon listens"},
    {"json", 'j', "[=MODE]", true, "print JSON: short, pretty, or off"},
    {"output", 0, "FORMAT", true, "table, json, jsonl (a line for each), or csv"},
    {"no-legend", 0, NULL, true, "no headings and hints"},
    {"no-pager", 0, NULL, true, "do not start a pager"},
    {"full", 'l', NULL, false, "do not shorten anything"},
    {"columns", 'o', "NAMES", false, "of a list: these columns, as in id,finding"},
    {"sort", 0, "NAMES", false, "of a list: by these columns; -NAME: descending"},
    {"bytes", 0, NULL, false, "of a list: sizes as numbers of bytes"},
    {"brief", 0, NULL, false, "status: one line, that all is well or what is worst"},
    {"nagios", 0, NULL, false, "status: as a plugin of Nagios, Icinga and their kin"},
    {"exit-zero", 0, NULL, false, "exit with 0 whatever is open"},
    {"offline", 0, NULL, false, "read the database; the daemon must not run"},
    {"state-directory", 0, "DIR", false, "with --offline: where the database is"},
    {"severity", 0, "LEVEL", false, "info, warning, error or critical, and above"},
    {"name", 0, "NAME", false, "findings of this name, such as chain-deep"},
    {"path", 0, "PATH", false, "this image, or what is below it; mute: a pattern"},
    {"datastore", 0, "NAME", false, "of this datastore"},
    {"domain", 0, "DOMAIN", false, "of this domain's disks: name or UUID"},
    {"pool", 0, "POOL", false, "in this libvirt pool"},
    {"orphan", 0, NULL, false, "to which nothing refers"},
    {"state", 0, "STATE", false, "open, acknowledged, resolved, or all"},
    {"format", 'f', "FORMAT", false, "raw or qcow2; check: do not guess the format"},
    {"all", 'a', NULL, false, "all of them: resolved findings, raw files too"},
    {"since", 0, "TIME", false, "not older: 2026-12-24, \"3d ago\", yesterday"},
    {"until", 0, "TIME", false, "not newer; ack, mute, pause: when it ends: +7d"},
    {"at", 0, "TIME", false, "as it was at this time"},
    {"journal", 0, "DIR", false, "verify-log: journal files, if not the system's"},
    {"metric", 0, "NAME", false, "over time: depth, leaks, allocated, size, ..."},
    {"crossed", 0, "METRIC=N", false, "when that was reached first: depth=10, allocated=50G"},
    {"lines", 'n', "N", false, "at most so many"},
    {"wait", 'w', NULL, false, "wait until the scan is done"},
    {"scrub", 0, NULL, false, "scan: read all data of these images, too"},
    {"chain", 0, NULL, false, "check every layer"},
    {"compatible", 0, NULL, false, "check: the exit status of qemu-img, to the letter"},
    {"deep", 0, NULL, false, "inflate every compressed cluster, look for holes"},
    {"evidence", 0, NULL, false, "check: of archives that evidence wrote"},
    {"out", 'o', "FILE", false, "evidence: the new file, or FOLDER/; - for stdout"},
    {"scalar", 0, NULL, false, "no vector instructions: to rule them out"},
    {"threads", 0, "N", false, "of the worker, 1 to 16; else as many as pay"},
    {"file", 0, NULL, false, "digests of the files themselves"},
    {"content", 0, NULL, false, "digests of what the guests see"},
    {"algorithm", 0, "LIST", false, "of files: sha256, md5, sha1, sha512"},
    {"tag", 0, NULL, false, "lines as of sha256sum --tag"},
    {"snapshot", 0, "NAME", false, "content of an internal snapshot, by id or name"},
    {"catalogue", 0, "FILE", false, "identify: is the content one of this list, or folder"},
    {"families", 0, "FILE", false, "families: this file, and families.d beside it"},
    {"muted", 0, NULL, false, "findings: those that are muted"},
    {"finding", 0, "NAME", false, "mute: findings of this name"},
    {"class", 0, "CLASS", false, "mute: images of this class of the configuration"},
    {"id", 0, "ID", false, "mute: the finding of this number"},
    {"forever", 0, NULL, false, "mute: until it is unmuted"},
    {"reason", 0, "TEXT", false, "why it is acknowledged, accepted or muted"},
    {"channel", 0, "NAME", false, "journal, syslog, console or exec"},
    {"for", 0, "TIME", false, "how long: 2h, 7d"},
    {"signature", 0, "FILE", false, "catalogue: of the list, if it is not within"},
    {"keyring", 0, "FILE", false, "catalogue: OpenPGP keys, with --fingerprint"},
    {"fingerprint", 0, "HEX", false, "catalogue: of keys to trust, with commas between"},
    {"key", 0, "FILE", false, "catalogue: public keys to trust, in PEM"},
    {"root", 0, "FILE", false, "catalogue: root certificates to trust, in PEM"},
    {"certificates", 0, "FILE", false, "catalogue: the signer's, and those up to the root"},
    {"subject", 0, "NAME", false, "catalogue: the common name of the signer's"},
};
_Static_assert(ELEMENTSOF(options) <= OPTIONS_MAX, "each has a place in struct given_options");

const struct option_row *option_at(size_t i)
{
    return i < ELEMENTSOF(options) ? &options[i] : NULL;
}

bool option_may_lack_argument(const struct option_row *option)
{
    return option->argument && option->argument[0] == '[';
}

/* ---- values ------------------------------------------------------------------------------- */

static int bad_value(const struct option_row *option, const char *value, const char *allowed)
{
    _cleanup_free_ char *shown = text_escape_string(value);

    (void)complain(0, "--%s=%s: %s.", option->name, shown, allowed);
    return -EINVAL;
}

static int one_of(const struct option_row *option, const char *value, const char *const *names,
                  const char *allowed)
{
    for (size_t i = 0; names[i]; i++)
        if (strcmp(names[i], value) == 0)
            return (int)i;
    return bad_value(option, value, allowed);
}

static int take_json(struct ctl *ctl, const struct option_row *option, const char *value)
{
    static const char *const modes[] = { "off", "short", "pretty", NULL };
    int r;

    if (!value)
        value = ctl->output.terminal ? "pretty" : "short";
    r = one_of(option, value, modes, "it is short, pretty or off");
    if (r >= 0) {
        ctl->output.json = (enum json_mode)r;
        ctl->output.csv = false;    /* the last of several options holds */
    }
    return r;
}

static int take_output(struct ctl *ctl, const struct option_row *option, const char *value)
{
    static const char *const formats[] = { "table", "json", "jsonl", "csv", NULL };
    int r = one_of(option, value, formats, "it is table, json, jsonl or csv");

    if (r < 0)
        return r;
    ctl->output.csv = r == 3;
    ctl->output.json = r == 2                    ? JSON_LINES
                       : r != 1                  ? JSON_OFF
                       : ctl->output.terminal    ? JSON_PRETTY
                                                 : JSON_SHORT;
    return 0;
}

static int take_number(const struct option_row *option, const char *value, unsigned *ret_number)
{
    unsigned long number;
    char *end;

    errno = 0;
    number = strtoul(value, &end, 10);
    if (errno != 0 || *end || value[0] < '0' || value[0] > '9' || number == 0 || number > 100000000)
        return bad_value(option, value, "a number from 1 on is needed");
    *ret_number = (unsigned)number;
    return 0;
}

static int take_threads(const struct option_row *option, const char *value, unsigned *ret_number)
{
    unsigned number;
    int r = take_number(option, value, &number);

    if (r < 0)
        return r;
    if (number > QCA_THREADS_MAX)
        return bad_value(option, value, "it is 16 at most");
    *ret_number = number;
    return 0;
}

static int take_time(const struct option_row *option, const char *value, uint64_t *ret_usec)
{
    return when_parse(value, usec_now(CLOCK_REALTIME), ret_usec) < 0
               ? bad_value(
                     option, value,
                     "a time is needed, such as 2026-12-24, \"2026-12-24 18:00\", +7d, \"3d ago\"")
               : 0;
}

static int take_duration(const struct option_row *option, const char *value, uint64_t *ret_usec)
{
    uint64_t usec;

    if (when_parse_duration(value, &usec) < 0 || usec == 0)
        return bad_value(option, value, "a duration is needed, such as 90min, 2h, 7d");
    *ret_usec = usec;
    return 0;
}

static int take_metric(struct ctl *ctl, const struct option_row *option, const char *value)
{
    size_t i = 0;

    while (metric_name(i) && strcmp(metric_name(i), value) != 0)
        i++;
    if (!metric_name(i))
        return bad_value(option, value, "it is depth, leaks, allocated, corruptions, size or used");
    ctl->metric = metric_name(i);
    return 0;
}

static int take_crossed(struct ctl *ctl, const struct option_row *option, const char *value)
{
    return metric_parse_threshold(value, &ctl->metric, &ctl->threshold) < 0
               ? bad_value(option, value,
                           "a figure and a value are needed, such as depth=10 or allocated=50G")
               : 0;
}

/* Printed commands ask the same host. */
static int take_host(struct ctl *ctl, const struct option_row *option, const char *value)
{
    _cleanup_free_ char *quoted = NULL;
    char *tool;

    if (!*value || value[0] == '-')
        return bad_value(option, value, "a name for ssh is needed");
    if (text_quote_shell(value, &quoted) < 0 || asprintf(&tool, "qcauditctl -H %s", quoted) < 0)
        return complain(-ENOMEM, "Cannot ask another host");
    free(ctl->output.tool);
    ctl->output.tool = tool;
    ctl->host = value;
    return 0;
}

static int take_text(const char *name, const char *value, struct ctl *ctl)
{
    const struct { const char *name; const char **place; } texts[] = {
        {"socket", &ctl->socket},
        {"state-directory", &ctl->state_directory}, {"name", &ctl->name},
        {"path", &ctl->path}, {"datastore", &ctl->datastore}, {"reason", &ctl->reason},
        {"channel", &ctl->channel},
        {"algorithm", &ctl->algorithm}, {"snapshot", &ctl->snapshot}, {"domain", &ctl->domain},
        {"pool", &ctl->pool}, {"finding", &ctl->finding}, {"class", &ctl->class}, {"id", &ctl->id},
        {"catalogue", &ctl->catalogue}, {"families", &ctl->families},
        {"journal", &ctl->journal}, {"columns", &ctl->out},
        {"out", &ctl->out},
        {"sort", &ctl->output.sort},
        {"signature", &ctl->signature}, {"keyring", &ctl->keyring},
        {"fingerprint", &ctl->fingerprint}, {"key", &ctl->key}, {"root", &ctl->root},
        {"certificates", &ctl->certificates}, {"subject", &ctl->subject},
    };

    for (size_t i = 0; i < ELEMENTSOF(texts); i++)
        if (strcmp(texts[i].name, name) == 0)
            *texts[i].place = value;
    return 0;
}

static int take_option(struct ctl *ctl, struct given_options *given, size_t index,
                       const char *value)
{
    static const char *const severities[] = { "info", "warning", "error", "critical", NULL };
    static const char *const states[] = { "open", "acknowledged", "resolved", "all", NULL };
    static const char *const formats[] = { "raw", "qcow2", NULL };
    const struct option_row *option = &options[index];
    const struct { const char *name; bool *flag; bool value; } flags[] = {
        {"help", &given->help, true}, {"version", &given->version, true},
        {"offline", &ctl->offline, true}, {"brief", &ctl->brief, true},
        {"nagios", &ctl->nagios, true},
        {"bytes", &ctl->output.bytes, true},
        {"exit-zero", &ctl->exit_zero, true},
        {"no-legend", &ctl->output.legend, false}, {"no-pager", &ctl->output.pager, false},
        {"full", &ctl->output.full, true}, {"all", &ctl->all, true},
        {"orphan", &ctl->orphan, true}, {"wait", &ctl->wait, true}, {"scrub", &ctl->scrub, true},
        {"chain", &ctl->chain, true}, {"scalar", &ctl->scalar, true}, {"deep", &ctl->deep, true},
        {"evidence", &ctl->evidence, true},
        {"compatible", &ctl->compatible, true},
        {"muted", &ctl->muted, true}, {"forever", &ctl->forever, true},
        {"file", &ctl->file, true}, {"content", &ctl->content, true}, {"tag", &ctl->tag, true},
    };
    int r = 0;

    given->given[index] = true;
    for (size_t i = 0; i < ELEMENTSOF(flags); i++)
        if (strcmp(flags[i].name, option->name) == 0) {
            *flags[i].flag = flags[i].value;
            return 0;
        }
    if (strcmp(option->name, "json") == 0)
        return take_json(ctl, option, value);
    if (strcmp(option->name, "output") == 0)
        return take_output(ctl, option, value);
    if (strcmp(option->name, "lines") == 0)
        return take_number(option, value, &ctl->lines);
    if (strcmp(option->name, "threads") == 0)
        return take_threads(option, value, &ctl->threads);
    if (strcmp(option->name, "since") == 0)
        return take_time(option, value, &ctl->since);
    if (strcmp(option->name, "until") == 0) {
        r = take_time(option, value, &ctl->until);
        if (r >= 0 && ctl->until == 0)
            ctl->until = 1;     /* 0: the option was not given */
        return r;
    }
    if (strcmp(option->name, "at") == 0) {
        r = take_time(option, value, &ctl->at);
        if (r >= 0 && ctl->at == 0)
            ctl->at = 1;        /* likewise */
        return r;
    }
    if (strcmp(option->name, "metric") == 0)
        return take_metric(ctl, option, value);
    if (strcmp(option->name, "crossed") == 0)
        return take_crossed(ctl, option, value);
    if (strcmp(option->name, "for") == 0)
        return take_duration(option, value, &ctl->duration);
    if (strcmp(option->name, "severity") == 0) {
        r = one_of(option, ctl->severity = value, severities,
                   "it is info, warning, error or critical");
        return r;
    }
    if (strcmp(option->name, "state") == 0)
        return one_of(option, ctl->state = value, states,
                      "it is open, acknowledged, resolved or all");
    if (strcmp(option->name, "format") == 0)
        return one_of(option, ctl->format = value, formats, "it is raw or qcow2");
    if (strcmp(option->name, "host") == 0)
        return take_host(ctl, option, value);
    return take_text(option->name, value, ctl);
}

int options_parse(struct ctl *ctl, int argc, char **argv, struct given_options *given)
{
    struct option longs[ELEMENTSOF(options) + 1] = { { NULL, 0, NULL, 0 } };
    char shorts[2 * ELEMENTSOF(options) + 1];
    size_t n = 0;
    int c;

    for (size_t i = 0; i < ELEMENTSOF(options); i++) {
        longs[i] = (struct option){ options[i].name,
                                    option_may_lack_argument(&options[i]) ? optional_argument
                                    : options[i].argument          ? required_argument
                                                                   : no_argument,
                                    NULL, OPTION_LONG + (int)i };
        if (options[i].letter) {
            shorts[n++] = options[i].letter;
            if (options[i].argument && !option_may_lack_argument(&options[i]))
                shorts[n++] = ':';
        }
    }
    shorts[n] = '\0';
    while ((c = getopt_long(argc, argv, shorts, longs, NULL)) >= 0) {
        size_t index = (size_t)(c - OPTION_LONG);

        if (c == '?')
            return -EINVAL;
        if (c < OPTION_LONG) {
            for (index = 0; options[index].letter != c; index++)
                ;
            given->by_letter[index] = true;
        }
        if (take_option(ctl, given, index, optarg) < 0)
            return -EINVAL;
    }
    return 0;
}
