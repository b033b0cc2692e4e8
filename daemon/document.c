/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Prints what is made from the tables while building: the sample configuration, the manual's keys,
 * and findings, the journal catalogue, the lines that
 * org.qcaudit.Auditor1(5) has to have. */
#include <errno.h>
#include <string.h>

#include "build-config.h"
#include "daemon/config/config.h"
#include "daemon/control/control.h"
#include "daemon/tell/tell.h"
#include "helpers/evidence.h"
#include "lib/cleanup.h"
#include "qcaudit/control.h"

#define WIDTH 78

/* Writes text in lines of at most WIDTH columns, each begun with prefix; newlines stay. */
static void print_wrapped(const char *prefix, const char *text)
{
    size_t column = 0;

    while (*text) {
        size_t length = strcspn(text, " \n");

        if (column > 0 && column + 1 + length > WIDTH) {
            putchar('\n');
            column = 0;
        }
        if (column == 0)
            column = (size_t)printf("%s", prefix);
        else if (length > 0)
            column += (size_t)printf(" ");
        column += (size_t)printf("%.*s", (int)length, text);
        text += length;
        for (; *text == ' ' || *text == '\n'; text++)
            if (*text == '\n') {
                putchar('\n');
                column = 0;
            }
    }
    if (column > 0)
        putchar('\n');
}

/* ---- the sample ---- */

/* For keys that have no default. */
static const char *sample_value(const struct config_key *key)
{
    static const struct {
        const char *name, *value;
    } examples[] = {
        { "datastores[].path", "/var/lib/libvirt/images" },
        { "datastores[].name", "images" },
        { "libvirt.uris", "[qemu:///system]" },
        { "golden.patterns", "[]" },
        { "metrics.file", "/run/qcaudit/qcauditd.prom" },
        { "alerts.exec", "/usr/share/qcaudit/alerts/alert-mail" },
        { "classes[].name", "lab" },
        { "classes[].paths", "[/srv/lab/*]" },
        { "classes[].thresholds", "{chain-deep: {warning: 20}, snapshot-old: off}" },
        { "versions[].family", "cisco-nxosv9k" },
        { "versions[].minimum", "9.3(10)" },
    };

    for (size_t i = 0; i < ELEMENTSOF(examples); i++)
        if (strcmp(examples[i].name, key->name) == 0)
            return examples[i].value;
    return key->fallback;
}

static void print_sample_key(const struct config_key *key, const char *name, unsigned depth,
                             bool list, bool first)
{
    bool datastore = strncmp(key->name, "datastores[]", 12) == 0;
    char prefix[32];

    snprintf(prefix, sizeof(prefix), datastore ? "# %*s# " : "%*s# ", (int)(2 * depth), "");
    print_wrapped(prefix, key->description);
    /* instead of auto: a comment as a whole */
    if (datastore) {
        printf("# %*s%s%s: %s\n", (int)(2 * depth) - (list && first ? 2 : 0), "",
               list && first ? "- " : "", name, sample_value(key));
        return;
    }
    /* The # stands before the text: without it, the key is where it belongs. */
    printf("%*s#%s%s: %s\n", (int)(2 * depth) - (list && first ? 2 : 0), "",
           list && first ? "- " : "", name, sample_value(key));
}

static void print_sample_datastores(void)
{
    puts("");
    print_wrapped("# ",
                  "Where images are. auto: libvirt's storage pools, and those of the usual folders "
                  "of libvirt, Proxmox, EVE-NG, GNS3 and OpenStack that exist. A list of "
                  "datastores can stand in place of auto, or in a file in conf.d beside it:");
    puts("datastores: auto\n# datastores:");
}

static int print_sample(void)
{
    char section[2][64] = { "", "" };

    print_wrapped(
        "# ",
        "Configuration of qcauditd: see qcauditd.yaml(5). Keys with a # in front show their "
        "defaults. Files *.yaml in the directory conf.d beside this file are read after it, in "
        "order of name: later ones win key by key, and lists grow. qcauditd --check-config looks "
        "for mistakes; systemctl reload qcauditd reads all files again.");
    for (size_t i = 0; i < config_keys_count; i++) {
        const struct config_key *key = &config_keys[i];
        char name[64], *parts[3];
        unsigned n = 0;
        bool changed = false;

        snprintf(name, sizeof(name), "%s", key->name);
        for (char *rest = name; n < 3 && (parts[n] = strsep(&rest, "."));)
            n++;
        char *bracket = strchr(parts[0], '[');
        if (bracket)
            *bracket = 0;
        for (unsigned level = 0; level + 1 < n; level++) {
            if (!changed && strcmp(section[level], parts[level]) == 0)
                continue;
            changed = true;
            strcpy(section[level], parts[level]);
            if (level == 0 && strcmp(parts[0], "datastores") == 0)
                print_sample_datastores();
            else if (level == 0)
                printf("\n%s%s:\n", bracket ? "#" : "", parts[0]);
            else if (strcmp(parts[1], "*") != 0)
                printf("  %s:\n", parts[1]);
        }
        if (key->type == CONFIG_ENABLED) {
            print_wrapped(
                "  # ",
                "Each finding can be turned off by its name; qcauditctl explain lists them.");
            printf("  #size-mismatch: on\n");
            section[1][0] = 0;
            continue;
        }
        print_sample_key(key, parts[n - 1], bracket ? 2 : n - 1, bracket, changed);
    }
    return 0;
}

/* ---- the manual ---- */

/* Text in lines of the source, each sentence on a new one; nothing in the table is markup. */
static int print_sentences(const char *text)
{
    while (*text) {
        const char *end = strstr(text, ". ");
        size_t length = end ? (size_t)(end - text) + 1 : strlen(text);
        _cleanup_free_ char *sentence = strndup(text, length);

        if (!sentence)
            return -ENOMEM;
        print_wrapped("", sentence);
        text += length;
        text += strspn(text, " ");
    }
    return 0;
}

/* A name or value: its dashes are to be copied. */
static void print_literal(const char *text)
{
    for (; *text; text++)
        if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
}

static int print_keys(void)
{
    static const char *const values[] = {
        [CONFIG_BOOL] = "yes|no",
        [CONFIG_COUNT] = "number",
        [CONFIG_DURATION] = "duration",
        [CONFIG_SIZE] = "size",
        [CONFIG_RATE] = "rate",
        [CONFIG_SHARE] = "share",
        [CONFIG_WINDOW] = "hours",
        [CONFIG_DATE] = "date",
        [CONFIG_SEVERITY] = "severity",
        [CONFIG_NAME] = "name",
        [CONFIG_VERSION] = "version",
        [CONFIG_PATH] = "path",
        [CONFIG_PATTERNS] = "patterns",
        [CONFIG_THRESHOLDS] = "thresholds",
        [CONFIG_ENABLED] = "yes|no",
        [CONFIG_URIS] = "URIs",
        [CONFIG_POOLS] = "all|none|names",
        [CONFIG_EXCLUDES] = "patterns",
        [CONFIG_DEVICES] = "patterns",
    };

    puts(".Bl -tag -width Ds");
    for (size_t i = 0; i < config_keys_count; i++) {
        const struct config_key *key = &config_keys[i];
        const char *word = config_word_name(key->word);

        printf(".It Cm ");
        print_literal(key->type == CONFIG_ENABLED ? "thresholds.FINDING.enabled" : key->name);
        printf(" : Ar %s\n", values[key->type]);
        int r = print_sentences(key->description);
        if (r < 0)
            return r;
        if (!key->fallback) {
            puts("It must be given.");
        } else if (*key->fallback) {
            printf("Default: ");
            print_literal(key->fallback);
            puts(".");
        }
        if (key->minimum) {
            printf("From ");
            print_literal(key->minimum);
            printf(" to ");
            print_literal(key->maximum);
            if (word)
                printf(", or %s", word);
            puts(".");
        }
    }
    puts(".El");
    return 0;
}

/* Paragraphs of a finding, as text of the manual: nothing in it is markup. */
static int print_paragraphs(const char *text)
{
    while (*text) {
        const char *end = strstr(text, "\n\n");
        size_t length = end ? (size_t)(end - text) : strlen(text), n = 0;
        _cleanup_free_ char *paragraph = malloc(2 * length + 1 + 2 * length);

        if (!paragraph)
            return -ENOMEM;
        for (size_t i = 0; i < length; i++) {
            bool begins = i == 0 || text[i - 1] == ' ';

            /* Lines are broken before words: none of them may begin one like a macro. */
            if (begins && (text[i] == '.' || text[i] == '\''))
                n += (size_t)sprintf(paragraph + n, "\\&");
            if (text[i] == '\\')
                n += (size_t)sprintf(paragraph + n, "\\e");
            else
                paragraph[n++] = text[i];
        }
        paragraph[n] = '\0';
        int r = print_sentences(paragraph);
        if (r < 0)
            return r;
        text += length;
        text += strspn(text, "\n");
        if (*text)
            puts(".Pp");
    }
    return 0;
}

static int print_findings(void)
{
    puts(".Bl -tag -width Ds");
    for (enum finding_type type = 0; type < _FINDING_MAX; type++) {
        const struct finding_definition *finding = finding_definition(type);

        printf(".It Cm ");
        print_literal(finding->name);
        printf(" Pq %s\n", severity_name(finding->severity));
        int r = print_paragraphs(finding->title);
        puts(".Pp");
        if (r >= 0)
            r = print_paragraphs(finding->explanation);
        if (r < 0)
            return r;
        puts(".Pp\n.Em What to do:");
        r = print_paragraphs(finding->remedy);
        if (r < 0)
            return r;
    }
    puts(".El");
    return 0;
}

/* The members of evidence, by kind. */
static int print_evidence(void)
{
    static const struct { enum evidence_kind kind; const char *what; } kinds[] = {
        { EVIDENCE_IS_TIME, "Times, as microseconds since the epoch" },
        { EVIDENCE_IS_SECONDS, "Durations, in seconds" },
        { EVIDENCE_IS_BYTES, "Sizes, in bytes" },
        { EVIDENCE_IS_SHARE, "Shares, in parts of 10,000" },
        { EVIDENCE_IS_OFFSET, "Offsets in a file or a disk, in bytes" },
        { EVIDENCE_IS_COUNT, "Counts" },
        { EVIDENCE_IS_MODE, "Permissions, as a number" },
        { EVIDENCE_IS_BITS, "Bits, as a number" },
        { EVIDENCE_IS_PLAIN, "Other numbers" },
        { EVIDENCE_IS_PATH, "Paths, escaped" },
        { EVIDENCE_IS_WORDS, "Other texts, escaped" },
        { EVIDENCE_IS_FLAG, "True or false" },
        { EVIDENCE_IS_LIST, "Lists" },
        { EVIDENCE_IS_OBJECT, "Objects" },
    };

    puts(".Bl -tag -width Ds");
    for (size_t i = 0; i < ELEMENTSOF(kinds); i++) {
        const struct evidence_member *member;
        const char *separator = "";

        printf(".It %s\n", kinds[i].what);
        for (size_t k = 0; (member = evidence_member_at(k)); k++)
            if (member->kind == kinds[i].kind) {
                printf("%s.Cm ", separator);
                print_literal(member->key);
                separator = " ,\n";
            }
        puts("");
    }
    puts(".El");
    return 0;
}

/* ---- the journal catalogue ---- */

static void print_catalogue_head(sd_id128_t id, const char *subject)
{
    printf("\n-- " SD_ID128_FORMAT_STR "\nSubject: %s\nDefined-By: qcaudit\n",
           SD_ID128_FORMAT_VAL(id), subject);
    if (*SUPPORT_URL)
        printf("Support: %s\n", SUPPORT_URL);
    puts("Documentation: man:qcauditd(8)\n");
}

static int print_catalogue(void)
{
    sd_id128_t head = SD_ID128_NULL;

    puts("# Journal catalogue of qcaudit, made from its table of findings.");
    for (enum finding_type type = 0; type < _FINDING_MAX; type++) {
        const struct finding_definition *finding = finding_definition(type);

        print_catalogue_head(finding->message_id, finding->title);
        print_wrapped("", finding->explanation);
        puts("");
        print_wrapped("", finding->remedy);
        printf("\nqcauditctl show @QCAUDIT_FINDING_ID@ shows the evidence and the commands to "
               "run;\nqcauditctl explain %s says this, too.\n", finding->name);
    }
    print_catalogue_head(ALERT_SUMMARY_MESSAGE_ID, "Many findings were told at once");
    print_wrapped(
        "",
        "So many findings changed within a short time, or in the first pass over a store, that "
        "qcauditd tells them together. The entry carries the QCAUDIT_EVENT_ID of each; all of them "
        "are in the history.\n\nqcauditctl findings shows what is open.");
    print_catalogue_head(ALERT_TEST_MESSAGE_ID, "A test of qcaudit's alerts");
    print_wrapped(
        "",
        "Somebody ran qcauditctl test-alert: nothing is wrong. That this entry is here shows that "
        "alerts reach the journal.");
    (void)sd_id128_from_string(CONTROL_HEAD_MESSAGE_ID, &head);
    print_catalogue_head(head, "The last event of the record");
    print_wrapped(
        "",
        "The events that qcauditd keeps are a chain: the digest of each includes that of the one "
        "before. This entry notes the number and the digest of the last one, outside of the "
        "database, once a day and when qcauditd ends. An event that is changed or deleted later no "
        "longer fits.\n\nqcauditctl verify-log compares the record with all such entries.");
    return 0;
}

/* The types of a signature with the names of what they are, each pair as one argument of .Fn or in
 * a list; names are ended by NUL each. Returns what follows the names. */
static const char *print_parameters(const char *signature, const char *names, bool list)
{
    const char *separator = "";

    while (signature && *signature) {
        int depth = 0;
        size_t n = strspn(signature, "a");

        do {
            depth += signature[n] == '{' ? 1 : signature[n] == '}' ? -1 : 0;
            n++;
        } while (depth > 0);
        if (list)
            printf("%s%.*s %s", separator, (int)n, signature, names);
        else
            printf(" \"%.*s %s\"", (int)n, signature, names);
        separator = ", ";
        signature += n;
        names += strlen(names) + 1;
    }
    return names;
}

/* One line of mdoc for each member of the interface. */
static int print_interface(void)
{
    for (const sd_bus_vtable *row = control_vtable; row->type != _SD_BUS_VTABLE_END; row++)
        switch (row->type) {
        case _SD_BUS_VTABLE_METHOD: {
            const char *names, *answer = row->x.method.result;

            printf(".It Fn %s", row->x.method.member);
            names = print_parameters(row->x.method.signature, row->x.method.names, false);
            if (answer && *answer) {
                printf(" No \\(-> Li \"");
                (void)print_parameters(answer, names, true);
                printf("\"");
            }
            puts("");
            break;
        }
        case _SD_BUS_VTABLE_SIGNAL:
            printf(".It Fn %s", row->x.signal.member);
            (void)print_parameters(row->x.signal.signature, row->x.signal.names, false);
            puts("");
            break;
        case _SD_BUS_VTABLE_PROPERTY:
            printf(".It Va %s Pq Li %s\n", row->x.property.member, row->x.property.signature);
            break;
        default:
            break;
        }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*print)(void);
    } documents[] = { { "sample", print_sample },
                      { "keys", print_keys },
                      { "findings", print_findings },
                      { "evidence", print_evidence },
                      { "catalogue", print_catalogue },
                      { "interface", print_interface } };

    for (size_t i = 0; argc == 2 && i < ELEMENTSOF(documents); i++)
        if (strcmp(argv[1], documents[i].name) == 0) {
            int r = documents[i].print();
            return r < 0 || fflush(stdout) != 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        }
    fprintf(stderr, "usage: %s sample|keys|findings|evidence|catalogue|interface\n", argv[0]);
    return EXIT_FAILURE;
}
