/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The configuration: every class of mistake with its place, conf.d, units, names and defaults. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "daemon/config/config.h"
#include "helpers/clock.h"
#include "helpers/config-tree.h"
#include "helpers/value.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(struct config *, config_free)

/* Mistakes as "line:column: message" lines; the file's name is checked apart. */
struct said {
    char text[16384];
    char file[256];
    unsigned n;
};

static void note(void *userdata, const char *file, unsigned line, unsigned column,
                 const char *message)
{
    struct said *said = userdata;
    size_t length = strlen(said->text);

    snprintf(said->text + length, sizeof(said->text) - length, "%u:%u: %s\n", line, column,
             message);
    snprintf(said->file, sizeof(said->file), "%s", file);
    said->n++;
}

static void expect_mistakes(const char *text, size_t n, const char *expected)
{
    struct config *config = NULL;
    struct said said = { 0 };

    assert_int_equal(config_parse("a.yaml", text, n, note, &said, &config), -EINVAL);
    assert_null(config);
    assert_string_equal(said.text, expected);
    assert_string_equal(said.file, "a.yaml");
}

static struct config *parse(const char *text)
{
    struct config *config = NULL;
    struct said said = { 0 };

    int r = config_parse("a.yaml", text, strlen(text), note, &said, &config);
    assert_string_equal(said.text, "");
    assert_int_equal(r, 0);
    return config;
}

static void mistakes(void **state)
{
    static const struct {
        const char *text, *said;
    } cases[] = {
        /* keys */
        { "intervalls:\n  walk: 1h\n",
          "1:1: unknown key \"intervalls\"; did you mean \"intervals\"?\n" },
        { "intervals:\n  wlak: 1h\n",
          "2:3: unknown key \"wlak\" in intervals; did you mean \"walk\"?\n" },
        { "walk: 1h\n", "1:1: unknown key \"walk\"; did you mean \"intervals.walk\"?\n" },
        { "intervals.walk: 1h\n",
          "1:1: unknown key \"intervals.walk\"; did you mean \"intervals\"?\n" },
        { "datastores[].path: /a\n",
          "1:1: unknown key \"datastores[].path\"; known are: datastores, libvirt, golden, "
          "thresholds, classes, versions, intervals, limits, workers, reading, scrub, alerts, "
          "control, metrics, history\n" },
        { "golden: {infer: yes, infr: no}\n",
          "1:22: unknown key \"infr\" in golden; did you mean \"infer\"?\n" },
        { "intervals:\n  walk: 1h\n  audit: 1d\n  walk: 2h\n",
          "4:3: duplicate key \"walk\", first given on line 2\n" },
        { "workers: {count: 1}\nworkers: {count: 2}\n",
          "2:1: duplicate key \"workers\", first given on line 1\n" },
        { "? [a, b]\n: 1\n", "1:3: the file: expected the name of a key, found a list\n" },
        { "\"a\\e[31m\\n\": 1\n",
          "1:1: unknown key \"a\\x1b[31m\\n\"; known are: datastores, libvirt, golden, thresholds, "
          "classes, versions, intervals, limits, workers, reading, scrub, alerts, control, "
          "metrics, history\n" },
        /* types */
        { "- a\n- b\n", "1:1: the file: expected a mapping, found a list\n" },
        { "hello\n", "1:1: the file: expected a mapping, found text\n" },
        { "intervals: 5\n", "1:12: intervals: expected a mapping, found text\n" },
        { "intervals: {walk: [1h]}\n",
          "1:19: intervals.walk: expected a duration such as 90s, 1h 30min or 7d, found a list\n" },
        { "intervals: {walk: }\n",
          "1:19: intervals.walk: expected a duration such as 90s, 1h 30min or 7d, found "
          "nothing\n" },
        { "workers: {count: two}\n", "1:18: workers.count: \"two\": not a whole number\n" },
        { "workers: {count: \"2\"}\n",
          "1:18: workers.count: expected a number, found the text \"2\": write it without "
          "quotes\n" },
        { "alerts: {journal: maybe}\n", "1:19: alerts.journal: \"maybe\": not yes or no\n" },
        { "alerts: {severity: worst}\n",
          "1:20: alerts.severity: \"worst\": not one of info, warning, error, critical\n" },
        { "datastores: all\n", "1:13: datastores: expected auto or a list, found text\n" },
        { "datastores: [{path: /a, exclude: [/a/b]}]\n",
          "1:35: datastores[].exclude: the pattern \"/a/b\" must not begin with /, since it is "
          "compared with paths relative to the datastore\n" },
        { "datastores: [{path: /a, exclude: [a/../b]}]\n",
          "1:35: datastores[].exclude: the pattern \"a/../b\" must not contain \"..\"\n" },
        { "datastores: [{path: /a, exclude: ['*']}]\n",
          "1:35: datastores[].exclude: the pattern \"*\" would leave out everything\n" },
        { "datastores: [{path: /a, exclude: [tmp/]}]\n",
          "1:35: datastores[].exclude: the pattern \"tmp/\" must not end with /: a folder is left "
          "out with all that is below it\n" },
        { "datastores: [{path: /a, exclude: tmp}]\n",
          "1:34: datastores[].exclude: expected a list of patterns, found text\n" },
        { "datastores: [{path: /a, devices: [/srv/x]}]\n",
          "1:35: datastores[].devices: the pattern \"/srv/x\" must begin with /dev/ and name a "
          "device there\n" },
        { "datastores: {path: /a}\n", "1:13: datastores: expected auto or a list, found a "
                                      "mapping\n" },
        { "golden: {patterns: /a}\n",
          "1:20: golden.patterns: expected a list of patterns, found text\n" },
        { "golden:\n  patterns:\n    - {a: b}\n",
          "3:7: golden.patterns: expected a pattern, found a mapping\n" },
        /* ranges and units */
        { "workers: {count: 65}\n", "1:18: workers.count: \"65\" is out of range: 1 to 64\n" },
        { "workers: {count: 0}\n", "1:18: workers.count: \"0\" is out of range: 1 to 64\n" },
        { "workers: {count: 99999999999999999999999}\n",
          "1:18: workers.count: \"99999999999999999999999\" is out of range: 1 to 64\n" },
        { "workers: {count: -1}\n", "1:18: workers.count: \"-1\": not a whole number\n" },
        { "workers: {memory: 1GB}\n",
          "1:19: workers.memory: \"1GB\": unknown unit: the units of size are B, KiB, "
                                      "MiB, GiB, TiB, PiB and EiB\n" },
        { "workers: {memory: 1024}\n",
          "1:19: workers.memory: \"1024\": a size needs a unit: 4096B, 512MiB, 1GiB\n" },
        { "workers: {memory: 1h}\n",
          "1:19: workers.memory: \"1h\": unknown unit: the units of size are B, KiB, "
                                     "MiB, GiB, TiB, PiB and EiB\n" },
        { "intervals: {walk: 12 parsecs}\n",
          "1:19: intervals.walk: \"12 parsecs\": unknown unit: the units of "
                                             "time are us, ms, s, min, h, d, w and y\n" },
        { "intervals: {walk: 60}\n",
          "1:19: intervals.walk: \"60\": a duration needs a unit: 90s, 1h 30min, 7d\n" },
        { "intervals: {audit: 0s}\n",
          "1:20: intervals.audit: \"0s\" is out of range: 1s to 100y, or never\n" },
        { "scrub: {window: 22-5}\n",
          "1:17: scrub.window: \"22-5\": not a time of the day such as 22:00-05:00, or always\n" },
        { "scrub: {window: 05:00-05:00}\n",
          "1:17: scrub.window: \"05:00-05:00\": begins when it ends, or always\n" },
        { "scrub: {window: 22:00-24:01}\n",
          "1:17: scrub.window: \"22:00-24:01\": not a time of the day such as 22:00-05:00, or "
          "always\n" },
        { "reading: {budget: fast}\n",
          "1:19: reading.budget: \"fast\": not a size such as 512MiB or 1GiB, or unlimited\n" },
        { "thresholds: {clusters-leaked: {share: 5}}\n",
          "1:39: thresholds.clusters-leaked.share: \"5\": not a share such as 20% or 0.25%\n" },
        /* datastores */
        { "datastores: [images]\n", "1:14: datastores[].path: \"images\" must be absolute\n" },
        { "datastores: [\"\"]\n", "1:14: datastores[].path: \"\" is empty\n" },
        { "datastores:\n  -\n", "2:4: datastores[]: a datastore without a path\n" },
        { "datastores:\n  - {}\n", "2:5: datastores[]: a datastore without a path\n" },
        { "datastores: [/a/../b]\n",
          "1:14: datastores[].path: \"/a/../b\" must not contain \"..\"\n" },
        { "datastores: [//]\n",
          "1:14: datastores[].path: \"//\" must not be the root of all file systems\n" },
        { "datastores: [/proc/self]\n",
          "1:14: datastores[].path: \"/proc/self\" must not be in /proc or /sys\n" },
        { "datastores: [\"/a\\nb\"]\n",
          "1:14: datastores[].path: \"/a\\nb\" must not hold control characters\n" },
        { "datastores:\n  - /a\n  - path: /a/\n",
          "3:11: datastores[].path: \"/a\" is a datastore already\n" },
        { "datastores:\n  - /a\n  - /a/b\n",
          "3:5: datastores[].path: \"/a/b\" lies inside \"/a\", which is searched "
                                             "with all its subdirectories\n" },
        { "datastores:\n  - /a/b\n  - /a\n",
          "3:5: datastores[].path: \"/a/b\" lies inside \"/a\", which is searched "
                                             "with all its subdirectories\n" },
        { "datastores:\n  - {path: /a, name: x}\n  - {path: /b, name: x}\n",
          "3:22: datastores[].name: there is a datastore \"x\" already\n" },
        { "datastores:\n  - {path: /a, name: \"x y\"}\n",
          "2:22: datastores[].name: \"x y\" may hold letters, digits, "
                                                         "dot, underscore and dash only\n" },
        { "datastores:\n  - {path: /a, name: -x}\n",
          "2:22: datastores[].name: \"-x\" must not begin with a dash or a dot\n" },
        /* metrics */
        { "metrics: {file: metrics.prom}\n",
          "1:17: metrics.file: \"metrics.prom\" must be absolute\n" },
        { "metrics: {file: /run/metrics}\n",
          "1:17: metrics.file: the name must end in .prom, as node_exporter reads no other\n" },
        { "metrics: {file: /run/.prom}\n",
          "1:17: metrics.file: the name must end in .prom, as node_exporter reads no other\n" },
        { "datastores: [/a]\nmetrics: {file: /a/b/m.prom}\n",
          "2:17: metrics.file: lies in a datastore, and nothing is ever written there\n" },
        /* findings and classes */
        { "thresholds: {chain-deeep: off}\n",
          "1:14: unknown finding \"chain-deeep\" in thresholds; did you mean \"chain-deep\"?\n" },
        { "thresholds: {chain-deep: 7}\n",
          "1:26: thresholds.chain-deep: expected on, off or a mapping, found text\n" },
        { "thresholds: {nothing-like-it: 7}\n",
          "1:14: unknown finding \"nothing-like-it\" in thresholds; known are: "
          "metadata-corrupt, " },
        { "thresholds: {name-unsafe: 7}\n",
          "1:27: thresholds.name-unsafe: expected on or off, found text\n" },
        { "thresholds: {name-unsafe: {enabled: 7}}\n",
          "1:37: thresholds.name-unsafe.enabled: expected yes or no\n" },
        { "thresholds: {name-unsafe: {warning: 7}}\n",
          "1:28: unknown key \"warning\" in thresholds.name-unsafe; did you mean "
          "\"thresholds.chain-deep.warning\"?\n" },
        { "thresholds: {\"*\": off}\n", "1:14: unknown finding \"*\" in thresholds; known are: " },
        { "thresholds: {chain-limit: 1}\n",
          "1:27: thresholds.chain-limit: \"1\" is out of range: 2 to 1000000\n" },
        { "thresholds:\n  chain-deep: {warning: 30}\n",
          "2:25: thresholds.chain-deep: warning is higher than error\n" },
        { "thresholds:\n  chain-deep: {error: off, critical: 4}\n",
          "2:38: thresholds.chain-deep: warning is higher than critical\n" },
        { "classes:\n  - paths: [/a/*]\n", "2:5: classes[]: a class without a name\n" },
        { "classes:\n  - name: a\n", "2:5: classes[]: a class without paths\n" },
        { "classes:\n  - {name: a, paths: [b]}\n",
          "2:23: classes[].paths: the pattern \"b\" must begin with / or *, "
                                                  "since it is compared with absolute paths\n" },
        { "classes:\n  - {name: a, paths: [/b]}\n  - {name: a, paths: [/c]}\n",
          "3:12: classes[].name: there is a class \"a\" already\n" },
        { "classes:\n  - name: a\n    paths: [/b]\n    thresholds:\n      chain-deep: {error: 2}\n",
          "5:27: thresholds.chain-deep: warning is higher than error\n" },
        { "versions: {cisco-asav: 9.12}\n", "1:11: versions: expected a list, found a mapping\n" },
        { "versions: [{minimum: 1.2}]\n", "1:12: versions[]: an entry without a family\n" },
        { "versions: [{family: a, train: 1}]\n",
          "1:12: versions[]: an entry with neither a minimum nor an end-of-life\n" },
        { "versions: [{family: a b, minimum: 1}]\n",
          "1:21: versions[].family: \"a b\" may hold letters, digits, dot, underscore and dash "
          "only\n" },
        { "versions: [{family: a, minimum: ''}]\n",
          "1:33: versions[].minimum: \"\" is empty\n" },
        { "versions: [{family: a, minimum: '()'}]\n",
          "1:33: versions[].minimum: \"()\" holds neither a digit nor a letter\n" },
        { "versions: [{family: a, minimum: {any: 1}}]\n",
          "1:33: versions[].minimum: expected a version, found a mapping\n" },
        { "versions: [{family: a, train: \"1\\n2\", minimum: 1}]\n",
          "1:31: versions[].train: \"1\\n2\" must not hold control characters\n" },
        { "versions: [{family: a, end-of-life: 2027-02-29}]\n",
          "1:37: versions[].end-of-life: \"2027-02-29\": not a date such as 2027-03-31, or "
          "never\n" },
        { "versions: [{family: a, end-of-life: 31.3.2027}]\n",
          "1:37: versions[].end-of-life: \"31.3.2027\": not a date such as 2027-03-31, or "
          "never\n" },
        { "versions: [{family: a, end-of-life: 1969-12-31}]\n",
          "1:37: versions[].end-of-life: \"1969-12-31\": not a year from 1970 to 2262, or "
          "never\n" },
        { "versions: [{family: a, minimun: 1}]\n",
          "1:24: unknown key \"minimun\" in versions[]; did you mean \"minimum\"?\n" },
        { "versions: [{family: a, minimum: 1, minimum: 2}]\n",
          "1:36: duplicate key \"minimum\", first given on line 1\n" },
        { "versions:\n- {family: a, minimum: 1}\n- {family: b, minimum: 1}\n"
          "- {family: a, train: ANY, minimum: 2}\n",
          "4:12: versions[]: there is an entry for \"ANY\" of a already\n" },
        { "versions:\n- {family: a, train: 7.0(3)I7, minimum: 1}\n"
          "- {family: a, train: 7.0.3-i7, minimum: 2}\n",
          "3:12: versions[]: there is an entry for \"7.0.3-i7\" of a already\n" },
        /* libvirt */
        { "libvirt: {uris: [qemu+ssh://other/system]}\n",
          "1:18: libvirt.uris: the URI \"qemu+ssh://other/system\" is not of this host: "
          "expected something like qemu:///system\n" },
        { "libvirt: {uris: [\"\"]}\n",
          "1:18: libvirt.uris: the URI \"\" is not of this host: expected something like "
                                      "qemu:///system\n" },
        { "libvirt: {uris: off}\n",
          "1:17: libvirt.uris: expected a list of libvirt's URIs, found text\n" },
        { "libvirt: {pools: some}\n",
          "1:18: libvirt.pools: expected all, none, or a list of names, found text\n" },
        { "libvirt: {pools: [a, \"\", [b]]}\n", "1:22: libvirt.pools: the pool \"\" is empty\n"
                                              "1:26: libvirt.pools: expected a pool, found a "
                                              "list\n" },
        { "libvirt: {poll: 0s}\n", "1:17: libvirt.poll: \"0s\" is out of range: 1s to 1d\n" },
        /* YAML itself */
        { "intervals:\n\twalk: 1h\n", "2:1: a tab where YAML takes none: indent with spaces\n" },
        { "intervals: {walk: 1h\n",
          "2:1: did not find expected ',' or '}' (while parsing a flow mapping that begins "
                                    "on line 1)\n" },
        { "a: b: c\n",
          "1:1: unknown key \"a\"; known are: datastores, libvirt, golden, thresholds, classes, "
                       "versions, intervals, limits, workers, reading, scrub, alerts, control, "
                       "metrics, history\n"
                       "1:5: mapping values are not allowed in this context\n" },
        { "workers: &w {count: 2}\n", "1:10: anchors (&name) are not taken here\n" },
        { "golden: {patterns: [*a]}\n",
          "1:21: aliases (*name) are not taken here; quote a text that begins with *\n" },
        { "workers: {count: !!int 2}\n", "1:18: tags (!name) are not taken here\n" },
        { "--- {}\n--- {}\n", "2:1: a second document in one file\n" },
        { "golden: {patterns: [\"/a\\0b\"]}\n", "1:21: a NUL in a text\n" },
        { "golden: [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]\n",
          "1:9: golden: expected a mapping, found a list\n1:24: nested too deeply\n" },
        { "a: [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]\n", "1:1: unknown key \"a\"; known are: " },
        { "# caf\303\251\nalerts: \303(\n", "2:9: not valid UTF-8 (byte 0xc3)\n" },
        { "a: \033[31m\n", "1:4: a control character (byte 0x1b)\n" },
        { "a: \355\240\200\n", "1:4: not valid UTF-8 (byte 0xed)\n" },
        /* columns count characters, not bytes */
        { "{\"\303\251\303\251\": 1, alerts: {journal: x}}\n",
          "1:2: unknown key \"\303\251\303\251\"; known are: " },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        struct config *config = NULL;
        struct said said = { 0 };

        assert_int_equal(config_parse("a.yaml", cases[i].text, strlen(cases[i].text), note, &said,
                                      &config),
                         -EINVAL);
        /* An expectation that does not end a line is only the beginning of what is said. */
        size_t length = strlen(cases[i].said);
        if (cases[i].said[length - 1] == '\n')
            assert_string_equal(said.text, cases[i].said);
        else if (strncmp(said.text, cases[i].said, length) != 0)
            assert_string_equal(said.text, cases[i].said);
    }
}

static void nul_byte(void **state)
{
    expect_mistakes("alerts: {}\n# a\0b\n", 16, "2:4: a control character (byte 0x00)\n");
}

static void all_are_listed(void **state)
{
    static const char text[] =
        "datastores:\n"
        "  - relative\n"
        "  - {path: /a, watch: perhaps}\n"
        "intervals: {walk: soon, foo: 1}\n"
        "workers: {count: 65, count: 3}\n"
        "classes: [{name: a, paths: [/a], thresholds: {chain-deep: 3}}]\n"
        "alerts: [\n";

    expect_mistakes(text, sizeof(text) - 1,
                    "2:5: datastores[].path: \"relative\" must be absolute\n"
                    "3:23: datastores[].watch: \"perhaps\": not yes or no\n"
                    "4:19: intervals.walk: \"soon\": not a duration such as 90s, 1h 30min or 7d\n"
                    "4:25: unknown key \"foo\" in intervals; known are: walk, audit, debounce, "
                    "delay, rest\n"
                    "5:18: workers.count: \"65\" is out of range: 1 to 64\n"
                    "5:22: duplicate key \"count\", first given on line 5\n"
                    "6:59: thresholds.chain-deep: expected on, off or a mapping, found text\n"
                    "7:9: alerts: expected a mapping, found a list\n"
                    "8:1: did not find expected node content (while parsing a flow node)\n");
}

static void too_large(void **state)
{
    _cleanup_free_ char *text = malloc(CONFIG_FILE_MAX + 1);

    memset(text, '#', CONFIG_FILE_MAX + 1);
    expect_mistakes(text, CONFIG_FILE_MAX + 1, "0:0: larger than 1 MiB\n");
    struct config *config = NULL;
    assert_int_equal(config_parse("a.yaml", text, CONFIG_FILE_MAX, note, NULL, &config), 0);
    config_free(config);
}

/* A thousand times a thousand aliases is refused by the first, and what is large is bounded. */
static void bombs(void **state)
{
    _cleanup_free_ char *text = NULL;
    struct config *config = NULL;
    struct said said = { 0 };
    size_t size;

    FILE *stream = open_memstream(&text, &size);
    fputs("golden: {patterns: [", stream);
    for (int i = 0; i < 70000; i++)
        fputs("/a,", stream);
    fputs("]}\n", stream);
    fclose(stream);
    assert_int_equal(config_parse("a.yaml", text, size, note, &said, &config), -EINVAL);
    assert_non_null(strstr(said.text, "too many values in one file"));
    free(text);

    text = NULL;
    memset(&said, 0, sizeof(said));
    stream = open_memstream(&text, &size);
    for (int i = 0; i < 900; i++)
        fprintf(stream, "key%d: 1\n", i);
    fclose(stream);
    assert_int_equal(config_parse("a.yaml", text, size, note, &said, &config), -EINVAL);
    assert_int_equal(said.n, CONFIG_MISTAKES_MAX + 1);
}

static void defaults(void **state)
{
    _cleanup_(config_freep) struct config *config = NULL, *empty = NULL;

    assert_int_equal(config_new(&config), 0);
    assert_int_equal(config->n_datastores, 0);
    assert_int_equal(config->walk_interval, 3600 * USEC_PER_SEC);
    assert_int_equal(config->audit_interval, 7 * 86400 * USEC_PER_SEC);
    assert_int_equal(config->debounce, 5 * USEC_PER_SEC);
    assert_int_equal(config->workers, 2);
    assert_int_equal(config->worker_memory, 1 << 30);
    assert_int_equal(config->worker_images, 64);
    assert_int_equal(config->worker_deadline, 60 * USEC_PER_SEC);
    assert_int_equal(config->files_deadline, 30 * USEC_PER_SEC);
    assert_int_equal(config->read_budget, 0);
    assert_int_equal(config->max_issues, 1000);
    assert_true(config->alert_journal);
    assert_false(config->alert_syslog);
    assert_int_equal(config->alert_severity, SEVERITY_WARNING);
    assert_int_equal(config->alert_reminder, 86400 * USEC_PER_SEC);
    assert_false(config->control_public);
    assert_string_equal(config->control_group, "qcaudit");
    assert_int_equal(config->history_retention, 400 * 86400 * USEC_PER_SEC);
    assert_int_equal(config->audits_kept, 50);

    const struct thresholds *thresholds = &config->policy.thresholds;
    assert_int_equal(thresholds->chain_deep.warning, 5);
    assert_int_equal(thresholds->chain_deep.critical, 160);
    assert_int_equal(thresholds->chain_limit, 200);
    assert_int_equal(thresholds->snapshot_old.warning, 72 * 3600 * USEC_PER_SEC);
    assert_true(thresholds->snapshot_old.critical == UINT64_MAX);
    assert_int_equal(thresholds->runaway_tolerance, 2000);
    assert_int_equal(thresholds->leaks_share, 100);
    assert_int_equal(thresholds->leaks_bytes, 1 << 30);
    assert_int_equal(thresholds->data_file, SEVERITY_WARNING);
    assert_true(config->policy.infer_golden);
    assert_null(config->policy.golden[0]);
    assert_int_equal(config->policy.scrub_golden, 7 * 86400 * USEC_PER_SEC);
    assert_int_equal(config->policy.scrub_parents, 30 * 86400 * USEC_PER_SEC);
    assert_int_equal(config->policy.scrub_parents_after, 86400 * USEC_PER_SEC);
    assert_int_equal(config->scrub_window, 0);
    assert_int_equal(config->scrub_pressure, 1000);
    assert_int_equal(config->scrub_budget, 0);
    for (enum finding_type type = 0; type < _FINDING_MAX; type++)
        assert_false(thresholds->disabled[type]);

    empty = parse("# nothing\n");
    assert_memory_equal(&empty->policy.thresholds, thresholds, sizeof(*thresholds));
}

static void values(void **state)
{
    _cleanup_(config_freep) struct config *config = parse(
        "datastores:\n"
        "  - /var/lib/libvirt//images/./\n"
        "  - {path: /srv/vm, name: lab, recursive: no, watch: off, mounts: no, exclude: [tmp, "
        "a/*.iso], devices: [/dev/vg0/*]}\n"
        "  - {path: /srv/vm/deep}\n"
        "libvirt: {uris: [\"qemu:///system\", \"lxc+unix:///?socket=/a\"], poll: 5s, pools: [lab "
        "pool]}\n"
        "golden:\n  patterns: [/srv/golden/*, \"*-golden.qcow2\"]\n  infer: false\n"
        "intervals: {walk: 1h 30min, audit: never, debounce: 0s}\n"
        "workers: {count: 64, memory: 512M}\n"
        "reading: {budget: 50MiB/s, deadline: 90 s}\n"
        "scrub: {golden: 2d, parents: never, parents-after: 0s, window: 22:00-05:30, pressure: "
        "off, budget: 100MiB/s}\n"
        "alerts: {severity: critical, syslog: yes, reminder: never}\n"
        "thresholds:\n"
        "  chain-deep: {warning: off, critical: 100}\n"
        "  chain-limit: 100\n"
        "  data-file: error\n"
        "  name-unsafe: off\n"
        "  permissions: {enabled: no}\n"
        "  clusters-leaked: {bytes: off, share: 0.25%}\n"
        "classes:\n"
        "  - {name: lab, paths: [/srv/vm/*], thresholds: {chain-deep: {warning: 50, error: 60},"
        " name-unsafe: on}}\n"
        "  - {name: rest, paths: [/srv/*]}\n");

    assert_string_equal(config->libvirt_uris[0], "qemu:///system");
    assert_string_equal(config->libvirt_uris[1], "lxc+unix:///?socket=/a");
    assert_null(config->libvirt_uris[2]);
    assert_int_equal(config->libvirt_poll, 5 * USEC_PER_SEC);
    assert_string_equal(config->libvirt_pools[0], "lab pool");
    assert_null(config->libvirt_pools[1]);
    assert_int_equal(config->n_datastores, 3);
    assert_string_equal(config->datastores[0].path, "/var/lib/libvirt/images");
    assert_string_equal(config->datastores[0].name, "images");
    assert_true(config->datastores[0].recursive && config->datastores[0].watch);
    assert_string_equal(config->datastores[1].name, "lab");
    assert_false(config->datastores[1].recursive || config->datastores[1].watch);
    assert_true(config->datastores[0].mounts && !config->datastores[1].mounts);
    assert_null(config->datastores[0].exclude[0]);
    assert_string_equal(config->datastores[1].exclude[1], "a/*.iso");
    assert_null(config->datastores[1].exclude[2]);
    assert_string_equal(config->datastores[1].devices[0], "/dev/vg0/*");
    assert_int_equal(config->rest, 3600 * USEC_PER_SEC);
    assert_int_equal(config->delay, 600 * USEC_PER_SEC);
    assert_string_equal(config->datastores[2].name, "deep");
    assert_string_equal(config->policy.golden[1], "*-golden.qcow2");
    assert_null(config->policy.golden[2]);
    assert_false(config->policy.infer_golden);
    assert_int_equal(config->walk_interval, 5400 * USEC_PER_SEC);
    assert_int_equal(config->audit_interval, 0);
    assert_int_equal(config->debounce, 0);
    assert_int_equal(config->workers, 64);
    assert_int_equal(config->worker_memory, 512 << 20);
    assert_int_equal(config->read_budget, 50 << 20);
    assert_int_equal(config->files_deadline, 90 * USEC_PER_SEC);
    assert_int_equal(config->policy.scrub_golden, 2 * 86400 * USEC_PER_SEC);
    assert_int_equal(config->policy.scrub_parents, 0);
    assert_int_equal(config->policy.scrub_parents_after, 0);
    assert_int_equal(config->scrub_window, 22 * 60 << 16 | (5 * 60 + 30));
    assert_true(config->scrub_pressure == UINT64_MAX);
    assert_int_equal(config->scrub_budget, 100 << 20);
    assert_int_equal(config->alert_severity, SEVERITY_CRITICAL);
    assert_int_equal(config->alert_reminder, 0);

    const struct thresholds *general = &config->policy.thresholds;
    assert_true(general->chain_deep.warning == UINT64_MAX);
    assert_int_equal(general->chain_deep.error, 25);
    assert_int_equal(general->chain_deep.critical, 100);
    assert_int_equal(general->chain_limit, 100);
    assert_int_equal(general->data_file, SEVERITY_ERROR);
    assert_true(general->disabled[FINDING_NAME_UNSAFE]);
    assert_true(general->disabled[FINDING_PERMISSIONS]);
    assert_true(general->leaks_bytes == UINT64_MAX);
    assert_int_equal(general->leaks_share, 25);

    /* A class has what the general thresholds have, but for what it says. */
    const struct thresholds *lab = &config->policy.classes[0].thresholds;
    assert_int_equal(lab->chain_deep.warning, 50);
    assert_int_equal(lab->chain_deep.error, 60);
    assert_int_equal(lab->chain_deep.critical, 100);
    assert_int_equal(lab->chain_limit, 100);
    assert_false(lab->disabled[FINDING_NAME_UNSAFE]);
    assert_true(lab->disabled[FINDING_PERMISSIONS]);
    assert_memory_equal(&config->policy.classes[1].thresholds, general, sizeof(*general));
}

/* Nothing said, all of it, and none of it are three things. */
static void libvirt_lists(void **state)
{
    _cleanup_(config_freep) struct config *unsaid = parse("libvirt: {poll: 1s}\n");
    _cleanup_(config_freep) struct config *none = parse("libvirt: {uris: [], pools: none}\n");
    _cleanup_(config_freep) struct config *all = parse("libvirt: {pools: all}\n");

    assert_true(!unsaid->libvirt_uris && !unsaid->libvirt_pools);
    assert_true(none->libvirt_uris && !none->libvirt_uris[0] && none->libvirt_pools &&
                !none->libvirt_pools[0]);
    assert_null(all->libvirt_pools);
}

/* Names follow from the paths alone, not from their order. */
static void datastore_names(void **state)
{
    _cleanup_(config_freep) struct config *config = parse(
        "datastores: [/a/images, /b/images, /c/disks, \"/d/gro\\xdfe disks\", /.hidden, {path: /e, "
        "name: f}, /g/f]\n");

    assert_string_equal(config->datastores[0].name, "a-images");
    assert_string_equal(config->datastores[1].name, "b-images");
    assert_string_equal(config->datastores[2].name, "disks");
    assert_string_equal(config->datastores[3].name, "gro__e_disks");
    assert_string_equal(config->datastores[4].name, "_hidden");
    assert_string_equal(config->datastores[5].name, "f");
    assert_string_equal(config->datastores[6].name, "g-f");
}

static void write_file(const char *directory, const char *name, const char *text)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void assert_setting(const struct config *config, const char *section, const char *name,
                           int finding, size_t class, const char *expected)
{
    const struct config_key *key = config_key_find(section, name);
    struct config_setting setting;
    char text[200];

    assert_non_null(key);
    setting = config_setting_of(config, key, finding, class);
    snprintf(text, sizeof(text), "%s %s:%u %s", setting.value, setting.file ? setting.file : "-",
             setting.line, setting.class ? setting.class : "-");
    assert_string_equal(text, expected);
}

static void drop_ins(void **state)
{
    char directory[] = "/tmp/test-config.XXXXXX", main_file[64], command[64], expected[128];
    _cleanup_(config_freep) struct config *config = NULL;
    struct said said = { 0 };

    assert_non_null(mkdtemp(directory));
    snprintf(main_file, sizeof(main_file), "%s/q.yaml", directory);
    write_file(directory, "q.yaml",
               "datastores: [/a]\nworkers: {count: 3, images: 5}\nthresholds: {chain-deep: "
               "{warning: 3}}\n"
               "golden: {patterns: [/g]}\nclasses: [{name: a, paths: [/a/*]}]\n");
    assert_int_equal(config_load(main_file, note, &said, &config), 0);
    assert_int_equal(config->workers, 3);
    config = config_free(config);

    char drop_in[64];
    snprintf(drop_in, sizeof(drop_in), "%s/conf.d", directory);
    assert_int_equal(mkdir(drop_in, 0755), 0);
    write_file(drop_in, "20-b.yaml", "workers: {count: 7}\ngolden: {patterns: [/i]}\n");
    write_file(drop_in, "10-a.yaml",
               "datastores: [/b]\nworkers: {count: 4, images: 6}\ngolden: {patterns: [/h]}\n"
               "thresholds: {chain-deep: {error: 4}}\n");
    write_file(drop_in, "30.yaml~", "nonsense: 1\n");
    write_file(drop_in, ".40.yaml", "nonsense: 1\n");
    assert_int_equal(config_load(main_file, note, &said, &config), 0);
    assert_int_equal(config->n_datastores, 2);
    assert_string_equal(config->datastores[1].path, "/b");
    snprintf(expected, sizeof(expected), "7 %s/20-b.yaml:1 -", drop_in);
    assert_setting(config, "workers", "count", 0, 0, expected);
    snprintf(expected, sizeof(expected), "6 %s/10-a.yaml:2 -", drop_in);
    assert_setting(config, "workers", "images", 0, 0, expected);
    assert_int_equal(config->workers, 7);
    assert_int_equal(config->worker_images, 6);
    assert_string_equal(config->policy.golden[0], "/g");
    assert_string_equal(config->policy.golden[1], "/h");
    assert_string_equal(config->policy.golden[2], "/i");
    assert_int_equal(config->policy.thresholds.chain_deep.warning, 3);
    assert_int_equal(config->policy.thresholds.chain_deep.error, 4);
    /* The class gets what the last file says, though it stands in the first. */
    assert_int_equal(config->policy.classes[0].thresholds.chain_deep.error, 4);
    config = config_free(config);

    /* Mistakes name their own file, also what only two files together make. */
    write_file(drop_in, "50-c.yaml", "datastores:\n  - /a/inner\n");
    write_file(drop_in, "60-d.yaml", "oops: 1\n");
    assert_int_equal(config_load(main_file, note, &said, &config), -EINVAL);
    assert_int_equal(said.n, 2);
    assert_int_equal(strncmp(said.text, "2:5: datastores[].path: \"/a/inner\" lies inside", 40), 0);
    snprintf(expected, sizeof(expected), "%s/60-d.yaml", drop_in);
    assert_string_equal(said.file, expected);

    snprintf(command, sizeof(command), "rm -r %s", directory);
    assert_int_equal(system(command), 0);
}

/* The families that the policy on versions names are known, or it is a mistake with its place. */
static void families_of_versions(void **state)
{
    char directory[] = "/tmp/test-config-XXXXXX", main_file[64], folder[64], command[64];
    struct config *config = NULL;
    struct said said = { 0 };

    assert_non_null(mkdtemp(directory));
    snprintf(main_file, sizeof(main_file), "%s/q.yaml", directory);
    snprintf(folder, sizeof(folder), "%s/families.d", directory);
    assert_int_equal(mkdir(folder, 0755), 0);
    write_file(folder, "own.yaml",
               "families: [{family: lab-router, vendor: V, product: R, names: []}]\n");
    write_file(directory, "q.yaml",
               "versions:\n- {family: lab-router, minimum: 4.2, end-of-life: 2027-03-31}\n"
               "- {family: lab-ruoter, minimum: 4.2}\n"
               "- {minimum: 1, family: zzzzzzzzzzzzzzzzzz}\n");
    assert_int_equal(config_load(main_file, note, &said, &config), 0);
    assert_int_equal(config_load_families(config, main_file, note, &said), -EINVAL);
    assert_string_equal(said.text,
                        "3:12: versions[].family: unknown family \"lab-ruoter\"; did you mean "
                        "\"lab-router\"?\n"
                        "4:24: versions[].family: unknown family \"zzzzzzzzzzzzzzzzzz\"\n");
    assert_string_equal(said.file, main_file);
    assert_null(config->policy.families);
    config->policy.n_versions = 1;
    assert_int_equal(config_load_families(config, main_file, note, &said), 0);
    assert_string_equal(config->policy.versions[0].train, "any");
    assert_string_equal(config->policy.versions[0].minimum, "4.2");
    assert_true(config->policy.versions[0].end_of_life ==
                UINT64_C(1806451200) * USEC_PER_SEC);
    assert_string_equal(config->policy.versions[0].file, main_file);
    assert_int_equal(config->policy.versions[0].line, 2);
    config->policy.n_versions = 3;
    config_free(config);
    snprintf(command, sizeof(command), "rm -r %s", directory);
    assert_int_equal(system(command), 0);
}

/* Where each value was written that holds. */
static void origins(void **state)
{
    static const char text[] =
        "workers: {count: 3}\n"
        "thresholds:\n"
        "  chain-deep: {warning: 3, error: 030}\n"
        "  leak-burst: off\n"
        "  orphan:\n"
        "    enabled: no\n"
        "    after: 2h\n"
        "classes:\n"
        "  - name: a\n"
        "    paths: [/a/*,\n"
        "            /x/*]\n"
        "    memory: 1GiB\n"
        "    thresholds: {chain-deep: {error: 40}, leak-burst: on}\n"
        "  - name: b\n"
        "    paths: ['/x/*']\n"
        "libvirt: {pools: none}\n";
    _cleanup_(config_freep) struct config *config = parse(text);
    const struct config_key *paths = config_key_find("classes[]", "paths");
    struct config_setting entry;

    assert_string_equal(config->files[0], "a.yaml");
    assert_null(config->files[1]);
    assert_setting(config, "workers", "count", 0, 0, "3 a.yaml:1 -");
    assert_setting(config, "workers", "images", 0, 0, "64 -:0 -");
    assert_setting(config, "libvirt", "pools", 0, 0, "none a.yaml:16 -");
    assert_setting(config, "thresholds.chain-deep", "warning", 0, 0, "3 a.yaml:3 -");
    assert_setting(config, "thresholds.chain-deep", "error", 0, 0, "030 a.yaml:3 -");
    assert_setting(config, "thresholds.chain-deep", "critical", 0, 0, "160 -:0 -");
    assert_setting(config, "thresholds.orphan", "after", 0, 0, "2h a.yaml:7 -");
    /* A class says some of it. */
    assert_setting(config, "thresholds.chain-deep", "warning", 0, 1, "3 a.yaml:3 -");
    assert_setting(config, "thresholds.chain-deep", "error", 0, 1, "40 a.yaml:13 a");
    assert_setting(config, "thresholds.chain-deep", "error", 0, 2, "030 a.yaml:3 -");
    assert_setting(config, "classes[]", "name", 0, 2, "b a.yaml:14 b");
    assert_setting(config, "classes[]", "memory", 0, 1, "1GiB a.yaml:12 a");
    assert_setting(config, "classes[]", "memory", 0, 2, "0B -:0 -");
    assert_setting(config, "thresholds.leak-burst", "enabled", FINDING_LEAK_BURST, 0,
                   "off a.yaml:4 -");
    assert_setting(config, "thresholds.leak-burst", "enabled", FINDING_LEAK_BURST, 1,
                   "on a.yaml:13 a");
    assert_setting(config, "thresholds.orphan", "enabled", FINDING_ORPHAN, 1, "no a.yaml:6 -");
    assert_setting(config, "thresholds.orphan", "enabled", FINDING_CHAIN_DEEP, 1, "yes -:0 -");
    entry = config_entry_of(config, paths, 1, "/x/*");
    assert_int_equal(entry.line, 11);
    entry = config_entry_of(config, paths, 2, "/x/*");
    assert_int_equal(entry.line, 15);
    entry = config_entry_of(config, paths, 2, "/nothing");
    assert_null(entry.file);
}

/* What is written of libvirt.pools in several files, and what of that is in force. */
static void origins_of_pools(void **state)
{
    static const struct { const char *first, *second, *third, *in_force; } cases[] = {
        { "[a, b]", "none", NULL, "none " },
        { "[a, b]", "all", NULL, "all " },
        { "[a, b]", "[c]", NULL, "a b c " },
        { "none", "[a]", "[b]", "a b " },
        { "all", "[a]", NULL, "a " },
        { "none", "all", NULL, "all " },
        { "[a]", "none", "[b]", "b " },
        { "none", "[]", NULL, "none " },
    };
    const struct config_key *key = config_key_find("libvirt", "pools");

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        char directory[] = "/tmp/test-config.XXXXXX", main_file[64], drop_in[64], text[64];
        const char *const written[] = { cases[i].first, cases[i].second, cases[i].third };
        _cleanup_(config_freep) struct config *config = NULL;
        char in_force[64] = "";
        struct said said = { 0 };

        assert_non_null(mkdtemp(directory));
        (void)snprintf(main_file, sizeof(main_file), "%s/q.yaml", directory);
        (void)snprintf(drop_in, sizeof(drop_in), "%s/conf.d", directory);
        assert_int_equal(mkdir(drop_in, 0755), 0);
        write_file(directory, "q.yaml", "workers: {count: 3}\n");
        for (size_t k = 0; k < ELEMENTSOF(written) && written[k]; k++) {
            const char *const names[] = { "1.yaml", "2.yaml", "3.yaml" };

            (void)snprintf(text, sizeof(text), "libvirt: {pools: %s}\n", written[k]);
            write_file(drop_in, names[k], text);
        }
        assert_int_equal(config_load(main_file, note, &said, &config), 0);
        for (size_t k = 0; k < config->n_origins; k++)
            if (config->origins[k].key == key)
                (void)snprintf(in_force + strlen(in_force), sizeof(in_force) - strlen(in_force),
                               "%s ", config->origins[k].text);
        assert_string_equal(in_force, cases[i].in_force);
        assert_setting(config, "workers", "images", 0, 0, "64 -:0 -");
        assert_int_equal(config->workers, 3);
        (void)snprintf(text, sizeof(text), "rm -r %s", directory);
        assert_int_equal(system(text), 0);
    }
}

static void unreadable(void **state)
{
    char directory[] = "/tmp/test-config.XXXXXX", path[64];
    struct config *config = NULL;
    struct said said = { 0 };

    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/none.yaml", directory);
    assert_int_equal(config_load(path, note, &said, &config), -EINVAL);
    assert_int_equal(config_load(directory, note, &said, &config), -EINVAL);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(config_load(path, note, &said, &config), -EINVAL);
    assert_string_equal(said.text, "0:0: cannot read it: No such file or directory\n"
                                   "0:0: cannot read it: Is a directory\n"
                                   "0:0: cannot read it: Not a regular file\n");
    unlink(path);
    rmdir(directory);
}

static void units(void **state)
{
    static const struct {
        int (*parse)(const char *text, uint64_t *ret, const char **ret_reason);
        const char *text;
        int result;
        uint64_t value;
    } cases[] = {
        { value_duration, "6h", 0, 6 * 3600 * USEC_PER_SEC },
        { value_duration, "30d", 0, 30 * 86400 * USEC_PER_SEC },
        { value_duration, "90 s", 0, 90 * USEC_PER_SEC },
        { value_duration, "1h 30min", 0, 5400 * USEC_PER_SEC },
        { value_duration, "1h30min", 0, 5400 * USEC_PER_SEC },
        { value_duration, "2 weeks 1 day", 0, 15 * 86400 * USEC_PER_SEC },
        { value_duration, "1y", 0, 365 * 86400 * USEC_PER_SEC },
        { value_duration, "5us", 0, 5 },
        { value_duration, "", -EINVAL, 0 },
        { value_duration, "h", -EINVAL, 0 },
        { value_duration, "1h 30", -EINVAL, 0 },
        { value_duration, "1.5h", -EINVAL, 0 },
        { value_duration, "-1h", -EINVAL, 0 },
        { value_duration, "1H", -EINVAL, 0 },
        { value_duration, "600000y", -ERANGE, 0 },
        { value_duration, "18446744073709551616s", -ERANGE, 0 },
        { value_size, "1GiB", 0, 1 << 30 },
        { value_size, "512M", 0, 512 << 20 },
        { value_size, "7 B", 0, 7 },
        { value_size, "15EiB", 0, UINT64_C(15) << 60 },
        { value_size, "16EiB", -ERANGE, 0 },
        { value_size, "1GB", -EINVAL, 0 },
        { value_size, "1 GiB 5", -EINVAL, 0 },
        { value_size, "", -EINVAL, 0 },
        { value_rate, "50MiB/s", 0, 50 << 20 },
        { value_rate, "50MiB", 0, 50 << 20 },
        { value_rate, "/s", -EINVAL, 0 },
        { value_share, "1%", 0, 100 },
        { value_share, "0.25 %", 0, 25 },
        { value_share, "0.5%", 0, 50 },
        { value_share, "100%", 0, 10000 },
        { value_share, "0.125%", -EINVAL, 0 },
        { value_share, "1", -EINVAL, 0 },
        { value_share, "99999999999999999999%", -ERANGE, 0 },
        { value_date, "1970-01-01", 0, 0 },
        { value_date, "1970-12-31", 0, 364 * 86400 * USEC_PER_SEC },
        { value_date, "2000-02-29", 0, UINT64_C(951782400) * USEC_PER_SEC },
        { value_date, "2027-03-31", 0, UINT64_C(1806451200) * USEC_PER_SEC },
        { value_date, "2262-12-31", 0, UINT64_C(9246096000) * USEC_PER_SEC },
        { value_date, "2263-01-01", -EINVAL, 0 },
        { value_date, "2100-02-29", -EINVAL, 0 },
        { value_date, "2027-04-31", -EINVAL, 0 },
        { value_date, "2027-13-01", -EINVAL, 0 },
        { value_date, "2027-00-01", -EINVAL, 0 },
        { value_date, "2027-01-00", -EINVAL, 0 },
        { value_date, "2027-01-1", -EINVAL, 0 },
        { value_date, "2027-01-011", -EINVAL, 0 },
        { value_date, "2027-01", -EINVAL, 0 },
        { value_date, "", -EINVAL, 0 },
        { value_count, "007", 0, 7 },
        { value_count, "0x10", -EINVAL, 0 },
        { value_count, "18446744073709551615", 0, UINT64_MAX },
        { value_count, "18446744073709551616", -ERANGE, 0 },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        const char *reason = NULL;
        uint64_t value = 0;

        assert_int_equal(cases[i].parse(cases[i].text, &value, &reason), cases[i].result);
        assert_true(value == cases[i].value);
        assert_true((cases[i].result == -EINVAL) == (reason != NULL));
    }
}

/* What the parser, the sample and the manual take for granted. */
static void table(void **state)
{
    for (size_t i = 0; i < config_keys_count; i++) {
        const struct config_key *key = &config_keys[i];
        size_t length = strlen(key->name);

        assert_non_null(key->description);
        assert_true(key->type < _CONFIG_TYPE_MAX);
        assert_true(key->type == CONFIG_ENABLED || key->type >= CONFIG_NAME || key->fallback);
        if (strncmp(key->name, "thresholds.", 11) == 0) {
            char finding[64];

            snprintf(finding, sizeof(finding), "%.*s", (int)strcspn(key->name + 11, "."),
                     key->name + 11);
            assert_true(key->type == CONFIG_ENABLED || finding_type_from_name(finding) >= 0);
        }
        /* Steps stand together, in the order of struct steps. */
        if (length > 8 && strcmp(key->name + length - 8, ".warning") == 0) {
            assert_int_equal(key[1].offset, key->offset + offsetof(struct steps, error));
            assert_int_equal(key[2].offset, key->offset + offsetof(struct steps, critical));
        }
    }
}

/* What `document sample` prints. */
static char *sample(void)
{
    const char *builddir = getenv("top_builddir");
    char command[4096], *text = NULL;
    size_t size;
    int c;

    snprintf(command, sizeof(command), "'%s/daemon/document' sample", builddir ? builddir : "..");
    FILE *program = popen(command, "r");
    assert_non_null(program);
    FILE *stream = open_memstream(&text, &size);
    while ((c = getc(program)) != EOF)
        putc(c, stream);
    fclose(stream);
    assert_int_equal(pclose(program), 0);
    return text;
}

/* The lines behind "# datastores:", without their "# ". */
static char *commented_datastores(const char *text)
{
    char *list = calloc(1, strlen(text) + 1), *end = list;
    const char *line = strstr(text, "\n# datastores:\n");

    assert_true(list && line);
    for (line++; strncmp(line, "# ", 2) == 0; line++) {
        size_t n = strcspn(line, "\n");

        end = mempcpy(end, line + 2, n - 2);
        *end++ = '\n';
        line += n;
    }
    return list;
}

/* The sample is the defaults, also with every # taken away that stands before a key. */
static void sample_is_the_defaults(void **state)
{
    _cleanup_free_ char *text = sample(), *bare = calloc(1, strlen(text) + 1);
    _cleanup_(config_freep) struct config *fresh = NULL, *as_is = NULL, *uncommented = NULL;
    unsigned keys = 0;
    char *end = bare;

    for (const char *c = text; *c; c++) {
        const char *line = c;

        while (line > text && line[-1] == ' ')
            line--;
        if (*c == '#' && (line == text || line[-1] == '\n') && c[1] != ' ' && c[1] != '\n')
            keys++;
        else
            *end++ = *c;
    }
    /* All but a datastore's, which are a comment as a whole, and all findings, of which one is
     * shown; "#classes:" and "#versions:". */
    for (size_t i = 0; i < config_keys_count; i++)
        keys += strncmp(config_keys[i].name, "datastores[]", 12) == 0;
    assert_int_equal(keys, config_keys_count + 2);
    assert_int_equal(config_new(&fresh), 0);
    as_is = parse(text);
    uncommented = parse(bare);
    assert_int_equal(as_is->n_datastores, 0);
    assert_true(as_is->datastores_auto && !fresh->datastores_auto);
    /* the comment is a datastore with all defaults */
    _cleanup_(config_freep) struct config *listed = NULL;
    _cleanup_free_ char *list = commented_datastores(text);

    listed = parse(list);
    assert_int_equal(listed->n_datastores, 1);
    assert_string_equal(listed->datastores[0].path, "/var/lib/libvirt/images");
    assert_true(listed->datastores[0].recursive && listed->datastores[0].mounts);
    assert_false(listed->datastores[0].exclude[0] || listed->datastores[0].devices[0]);
    assert_memory_equal(&as_is->policy.thresholds, &fresh->policy.thresholds,
                        sizeof(fresh->policy.thresholds));
    assert_int_equal(as_is->policy.n_classes, 0);
    assert_int_equal(as_is->policy.n_versions, 0);
    assert_memory_equal(&uncommented->policy.thresholds, &fresh->policy.thresholds,
                        sizeof(fresh->policy.thresholds));
    assert_int_equal(uncommented->policy.n_classes, 1);
    assert_int_equal(uncommented->policy.n_versions, 1);
    size_t from = offsetof(struct config, walk_interval),
           to = offsetof(struct config, control_group);
    assert_memory_equal((char *)uncommented + from, (char *)fresh + from, to - from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes),
        cmocka_unit_test(nul_byte),
        cmocka_unit_test(all_are_listed),
        cmocka_unit_test(too_large),
        cmocka_unit_test(bombs),
        cmocka_unit_test(defaults),
        cmocka_unit_test(values),
        cmocka_unit_test(libvirt_lists),
        cmocka_unit_test(datastore_names),
        cmocka_unit_test(drop_ins),
        cmocka_unit_test(families_of_versions),
        cmocka_unit_test(origins),
        cmocka_unit_test(origins_of_pools),
        cmocka_unit_test(unreadable),
        cmocka_unit_test(units),
        cmocka_unit_test(table),
        cmocka_unit_test(sample_is_the_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
