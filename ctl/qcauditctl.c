/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcauditctl: asks qcauditd what is wrong with the disk images of a host, and tells it what to
 * do. */
#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "build-config.h"
#include "ctl/ctl.h"
#include "ctl/nagios.h"
#include "ctl/options.h"
#include "helpers/text.h"
#include "qcaudit/qcaudit.h"

/* ---- verbs -------------------------------------------------------------------------------- */

struct verb {
    const char *name;
    const char *arguments;
    int least, most;            /* arguments; most -1: any number */
    int (*run)(struct ctl *ctl, int argc, char **argv);
    const char *options;        /* long names of those that are its own, separated by blanks */
    const char *summary;        /* for the list of all verbs: one line */
    const char *help;
};

/* Of verbs that print a list. */
#define LIST "columns sort bytes "
#define FILTER_FINDINGS                                                                            \
    "severity name path datastore state muted all at lines exit-zero offline state-directory "     \
    "full " LIST
#define EXIT_STATUS_HELP                                                                           \
    "Exit status, by the worst finding that is open: 0 none above info, 1 warning,\n"              \
    "2 error, 3 critical; 10: it could not be found out. --exit-zero: 0 instead of 1, 2, 3."

static const struct verb verbs[] = {
    {"status", "", 0, 0, verb_status,
     "brief nagios at exit-zero offline state-directory full " LIST,
     "summary: counts and the worst findings (default)",
     "Shows how many images are audited, when, what is wrong by severity, each datastore, and the "
     "worst findings;\n"
     "with --brief one line; with --nagios one line for a monitoring system, and its exit status; "
     "with --at what was\n"
     "open then. " EXIT_STATUS_HELP},
    {"findings", "", 0, 0, verb_findings, FILTER_FINDINGS, "what is wrong, worst first",
     "Lists the findings that are open or acknowledged; --muted those that are muted instead, "
     "--all all of these,\n"
     "and those that were resolved lately; with --at those that were open or acknowledged at that "
     "time, muted or\n"
     "not, by the record of events.\n"
     EXIT_STATUS_HELP},
    {"diff", "TIME [TIME]", 1, 2, verb_diff, "lines offline state-directory full " LIST,
     "what opened, closed or got worse between two times",
     "Lists the findings that were opened, resolved, got worse or eased between two times, worst "
     "first; the\n"
     "second time is now when it is left out. A TIME is 2026-12-24, \"2026-12-24 18:00\", \"3d "
     "ago\", yesterday."},
    {"show", "PATH|DOMAIN|ID...", 1, -1, verb_show, "families full ",
     "all that is known of an image, domain or finding",
     "Shows everything known of an image, of a domain, or of the finding with that number: "
     "evidence, and what to do\n"
     "about it. A PATH may be the end of a known path, such as web.qcow2."},
    {"chain", "PATH|DOMAIN[:DISK]...", 1, -1, verb_chain, "full columns bytes ",
     "the snapshot chain of an image or disk, as a tree",
     "Shows the layers from the base to the image, and every overlay above it, with the size of "
     "each layer, what it\n"
     "takes on disk, and its age; which domain has it as its disk, which snapshot made it, and "
     "what libvirt does not\n"
     "know. Of a domain's DISK, such as vda, or of its first one."},
    {"domains", "[DOMAIN...]", 0, -1, verb_domains, "full " LIST,
     "libvirt's domains, their disks and snapshots",
     "Lists the domains that libvirt knows; of each DOMAIN everything: disks, chains, snapshots, "
     "findings."},
    {"images", "[PATH...]", 0, -1, verb_images,
     "path datastore domain pool orphan format all lines offline state-directory full " LIST,
     "all images that are known",
     "Lists the images below each PATH, or all of them; files without an image's format (raw) only "
     "with --all or\n"
     "--format=raw. With --domain those of its disks, with --pool those in a libvirt pool, with "
     "--orphan those that\n"
     "nothing refers to."},
    {"history", "[PATH|DOMAIN[:DISK]]", 0, 1, verb_history,
     "name since until metric crossed datastore lines offline state-directory full " LIST,
     "what happened: findings opened, worsened, resolved",
     "Lists the changes of findings, newest first: of all images, or of one disk, with all layers "
     "of it and what they\n"
     "stand on; of one image also its last audits, and what was read of its data. With --metric "
     "one figure of the disk\n"
     "over time, and how it goes on; with --datastore how full that was; with --crossed the time "
     "at which a figure\n"
     "reached a value."},
    {"baseline", "[list | show PATH | accept PATH]", 0, 2, verb_baseline,
     "datastore reason full " LIST,
     "list baselines; accept an intended change",
     "Lists the images that must not change, and whether they are as they were when they were read "
     "last; shows one,\n"
     "with its readings; or, with accept and a --reason, takes what it holds now for what it must "
     "hold."},
    {"explain", "[NAME...]", 0, -1, verb_explain, LIST,
     "what a finding means, and what to do about it",
     "Explains findings by their names, such as chain-deep; without a NAME it lists all there are. "
     "Needs no daemon."},
    {"scan", "[PATH...]", 0, -1, verb_scan, "wait scrub ", "audit images or directories now",
     "Walks all datastores and audits what is new, changed or due; with PATHs audits these in any "
     "case;\n"
     "with --scrub it also reads all their data, past the page cache, and compares it with what it "
     "was. With\n"
     "--wait it shows the progress, ends when all is done, and exits with 2 if findings of "
     "severity error or\n"
     "critical were opened."},
    {"audit", "DIR|FILE...", 1, -1, verb_audit, "exit-zero full ",
     "audit images once, without the service",
     "Runs a daemon of its own on these folders, and on the folders of these files, until all is "
     "audited; shows what\n"
     "is wrong, the evidence, and what to do. Nothing is kept. " EXIT_STATUS_HELP},
    {"check", "FILE...", 1, -1, verb_check,
     "chain compatible deep evidence format full scalar threads ",
     "check images as qemu-img check does, and more",
     "Checks images with the rights of the caller, in a sandbox, without writing or locking "
     "anything. Exit status:\n"
     "0 clean, 1 not opened or not finished, 2 damage, 3 leaks only, 63 the format has no check; "
     "of several images\n"
     "the worst. It is that of qemu-img check, but 2 also for damage that qemu-img calls clean, "
     "unless --compatible is\n"
     "given. With --chain every layer below is checked too. With --evidence each FILE is an "
     "archive that 'evidence' wrote:\n"
     "its manifest is verified, and the tables in it are checked again."},
    {"evidence", "PATH|ID", 1, 1, verb_evidence, "out ",
     "keep an image's tables, and all that is known of it",
     "Writes an archive (tar) of the image's own tables, of what qcauditd knows of it and of its "
     "chain, and of what a\n"
     "check finds now, with a manifest of digests; of an image, or of the image that the finding "
     "with that number is\n"
     "about. No guest data is in it. Reads like 'check': nothing is written to the image, or "
     "locked.\n"
     "-o FOLDER/ makes a new file there. 'qcauditctl check --evidence FILE' reads it back."},
    {"hash", "FILE...", 1, -1, verb_hash,
     "file content algorithm tag snapshot format scalar threads ",
     "digests of files, and of what their guests see",
     "Prints the SHA-256 of each file as sha256sum does, so that sha256sum -c reads it; or other "
     "digests\n"
     "(--algorithm). With --content the digest of what a guest sees, through all layers: the same "
     "for raw, qcow2,\n"
     "compressed or consolidated. MD5 and SHA-1 are for comparison with what others publish, never "
     "a reason to trust."},
    {"verify", "LIST...", 1, -1, verb_verify, "content threads ",
     "compare files with a list of digests",
     "Reads lists of digests as hash, sha256sum, md5sum, openssl and others write them, \"-\" from "
     "standard input,\n"
     "and says of each file whether it is as listed. With --content, lines without a tag hold "
     "content digests.\n"
     "Exit status as of sha256sum -c: 0 when all listed files are as listed, else 1."},
    {"verify-log", "", 0, 0, verb_verify_log, "since journal offline state-directory full ",
     "is the record of events as it was written?",
     "Computes the chain of digests of all recorded events again, and compares it with what the "
     "journal has of it:\n"
     "names events that were changed, inserted or deleted by others than the retention. Exit "
     "status: 0 sound, 1 not,\n"
     "10 it could not be checked."},
    {"compare", "FILE FILE", 2, 2, verb_compare, "threads ",
     "compare two images: files, content, and what differs",
     "Says whether two images are the same file, the same content in another container (and what "
     "differs), or\n"
     "different content (and which guest ranges). Exit status: 0 same content, 1 different, 2 not "
     "comparable."},
    {"identify", "FILE|NAME...", 1, -1, verb_identify,
     "families catalogue signature keyring fingerprint key root certificates subject ",
     "which appliance a name is of, and which version",
     "Says by the names of files, or of EVE-NG's folders, which appliance or cloud image they are: "
     "vendor, product,\n"
     "version and its parts, and the memory it is recommended to have. The file need not exist, "
     "and is not opened,\n"
     "unless --catalogue names a list of known content, or a folder of lists: then it is read, "
     "and what it is by these\n"
     "is said (original, repacked, renamed, modified, different, unknown). The list may have to be "
     "signed as for\n"
     "catalogue check. Exit status: 0 all are known, by the catalogue originals or repacks; 1 one "
     "is not; 2 families,\n"
     "lists or a file could not be read."},
    {"catalogue", "check FILE | make IMAGE...", 2, -1, verb_catalogue,
     "signature keyring fingerprint key root certificates subject families full " LIST,
     "look at a list of known content, or make one",
     "Reads a list of files with their digests, as vendors publish them, and shows what would be "
     "taken over of it:\n"
     "lists of sums (GNU, BSD, OpenSSL), .gns3a, simplestreams, Cisco's known-good values, "
     "Glance's images,\n"
     "virt-builder's index, and what --json prints here. A list that is wrong anywhere is refused "
     "as a whole, with its\n"
     "line. With --keyring and --fingerprint (OpenPGP), --key (a public key in PEM) or --root and "
     "--subject\n"
     "(certificates) it must be signed so; then its level is signed. Needs no daemon. Exit status: "
     "0 it would be taken\n"
     "over, 1 not.\n"
     "catalogue make prints such a list of images that are here, with the digest of what a guest "
     "sees, by which the\n"
     "same content is known in any container. Exit status: 0, 1 when something could not be "
     "read."},
    {"ack", "ID...", 1, -1, verb_ack, "reason until for ",
     "acknowledge findings: no more reminders",
     "Acknowledges findings: they stay listed, but are not told again until --until, or until they "
     "get worse."},
    {"mute", "", 0, 0, verb_mute, "finding path class id for until forever reason ",
     "keep findings, but notify nobody of them for a while",
     "Mutes the findings that are all of what is given: --finding (a name), --path (a pattern over "
     "the paths of images,\n"
     "such as '/srv/lab/*'), --class (of the configuration), --id. They are kept, and listed by "
     "'findings --muted', but\n"
     "not told, and not counted as open; one that gets worse is reported all the same. What comes "
     "later is muted, too."},
    {"mutes", "", 0, 0, verb_mutes, "offline state-directory full " LIST,
     "what is muted, until when, by whom, and why",
     "Lists the mutes that hold, and those that ended lately. A finding that several cover is "
     "counted at the one that\n"
     "lasts longest."},
    {"unmute", "ID...", 1, -1, verb_unmute, "", "end mutes: open findings are reported",
     "Ends the mutes of these numbers: open findings that they covered are reported."},
    {"test-alert", "", 0, 0, verb_test_alert, "channel " LIST,
     "send a test through each channel of alerts",
     "Sends one test alert through each channel that is configured, or through that of --channel, "
     "and says what\n"
     "arrived. Exit status: 0 all arrived, 1 one did not, or none is configured."},
    {"pause", "DATASTORE...", 1, -1, verb_pause, "for until ",
     "audit nothing in a datastore for a while",
     "Starts no audits in a datastore, until 'resume', or for the time given."},
    {"release", "DATASTORE...", 1, -1, verb_release, "for until ",
     "pause, and close every file there (for umount)",
     "As pause, and also ends what is under way and closes every file, so that an umount or "
     "lvremove can go on: it returns when that is done."},
    {"resume", "DATASTORE...", 1, -1, verb_resume, "", "end pause or release",
     "Ends a pause or release."},
    {"monitor", "", 0, 0, verb_monitor, "full ", "print changes of findings as they happen",
     "Prints a line for every change of a finding until it is interrupted."},
    {"policy", "[PATH]", 0, 1, verb_policy, "full " LIST,
     "what holds for an image, by which line of settings",
     "Shows the class that an image is of and the pattern that makes it so, and each threshold and "
     "setting that holds\n"
     "for it with the file and line that says so; without a PATH the general ones. The image need "
     "not be known."},
    {"reload", "", 0, 0, verb_reload, "", "read the configuration again",
     "Makes the daemon read its configuration again; when there is a mistake in it, the old one "
     "stays."},
};

int complain(int error, const char *format, ...)
{
    va_list ap;

    (void)fflush(stdout);
    va_start(ap, format);
    (void)vfprintf(stderr, format, ap);
    va_end(ap);
    if (error < 0)
        (void)fprintf(stderr, ": %s\n", strerror(-error));
    else
        (void)fputc('\n', stderr);
    return error;
}

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

/* Does it read files of this host, or nothing at all, and ask no daemon of another one? */
static bool verb_is_local(const struct verb *verb)
{
    return verb->run == verb_check || verb->run == verb_hash || verb->run == verb_verify ||
           verb->run == verb_compare || verb->run == verb_identify || verb->run == verb_audit ||
           verb->run == verb_explain || verb->run == verb_verify_log ||
           verb->run == verb_evidence || verb->run == verb_catalogue;
}

static bool verb_takes(const struct verb *verb, const struct option_row *option)
{
    char word[40];

    if (strcmp(option->name, "host") == 0)
        return !verb_is_local(verb);
    (void)snprintf(word, sizeof(word), "%s ", option->name);
    return option->global || strncmp(verb->options, word, strlen(word)) == 0 ||
           (snprintf(word, sizeof(word), " %s ", option->name) > 0 && strstr(verb->options, word));
}

/* The meaning of a letter depends on the verb: -o. Both of its options keep their argument in one
 * place. */
static bool verb_takes_letter(const struct verb *verb, char letter)
{
    for (size_t i = 0; option_at(i); i++)
        if (option_at(i)->letter == letter && verb_takes(verb, option_at(i)))
            return true;
    return false;
}

/* ---- help --------------------------------------------------------------------------------- */

#define HELP_COLUMNS 25         /* of verbs and options; what is longer has a line of its own */

static void print_option(const struct option_row *option)
{
    char text[64];

    (void)snprintf(text, sizeof(text), "%c%c --%s%s%s", option->letter ? '-' : ' ',
                   option->letter ? option->letter : ' ', option->name,
                   option->argument && !option_may_lack_argument(option) ? "=" : "",
                   option->argument ? option->argument : "");
    (void)printf("  %-*s %s\n", HELP_COLUMNS, text, option->help);
}

static void print_help(void)
{
    (void)printf("qcauditctl [OPTION...] [VERB] [ARGUMENT...]\n\n"
                 "Asks qcauditd what is wrong with the disk images of this host.\n\nVerbs:\n");
    for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
        char text[64];
        int n = snprintf(text, sizeof(text), "%s %s", verbs[i].name, verbs[i].arguments);

        if (n > HELP_COLUMNS)
            (void)printf("  %s\n  %-*s %s\n", text, HELP_COLUMNS, "", verbs[i].summary);
        else
            (void)printf("  %-*s %s\n", HELP_COLUMNS, text, verbs[i].summary);
    }
    (void)printf("\nOptions:\n");
    for (size_t i = 0; option_at(i); i++)
        print_option(option_at(i));
    (void)printf("\n'qcauditctl VERB --help' says more of a verb. See also qcauditctl(1).\n");
}

static void print_verb_help(const struct output *output, const struct verb *verb)
{
    (void)printf("qcauditctl [OPTION...] %s%s%s\n\n", verb->name, *verb->arguments ? " " : "",
                 verb->arguments);
    output_wrapped(output, 0, 0, verb->help);
    (void)printf("\nOptions:\n");
    for (size_t i = 0; option_at(i); i++)
        if (verb_takes(verb, option_at(i)))
            print_option(option_at(i));
}

/* ---- the verb and its options -------------------------------------------------------------- */

static int check_verb(const struct ctl *ctl, const struct verb *verb,
                      const struct given_options *given, int n_arguments)
{
    for (size_t i = 0; option_at(i); i++)
        if (given->given[i] && !verb_takes(verb, option_at(i)) &&
            !(given->by_letter[i] && verb_takes_letter(verb, option_at(i)->letter)))
            return complain(0, "--%s means nothing to '%s'. See: qcauditctl %s --help",
                            option_at(i)->name, verb->name, verb->name),
                   -EINVAL;
    if (ctl->host && ctl->offline)
        return complain(0, "--offline reads a database of this host: leave out --host."), -EINVAL;
    if (n_arguments < verb->least)
        return complain(0, "'%s' needs %s. See: qcauditctl %s --help", verb->name, verb->arguments,
                        verb->name), -EINVAL;
    if (verb->most >= 0 && n_arguments > verb->most)
        return complain(0, "Too many arguments for '%s'. See: qcauditctl %s --help", verb->name,
                        verb->name),
               -EINVAL;
    return 0;
}

/* Sets -o for a verb that prints a list, and how such a list is printed. */
static int set_list(struct ctl *ctl, const struct verb *verb, const struct given_options *given)
{
    bool lists = false, chosen = false;

    for (size_t i = 0; option_at(i); i++)
        if (strcmp(option_at(i)->name, "columns") == 0) {
            lists = verb_takes(verb, option_at(i));
            chosen = lists && given->given[i];
        }
    if (ctl->output.csv && !lists)
        return complain(0, "'%s' prints no list that CSV could hold: --output is table, json or "
                           "jsonl.", verb->name), -EINVAL;
    if (chosen && ctl->output.json != JSON_OFF)
        return complain(0, "--columns chooses columns of tables and CSV; JSON has all there is."),
               -EINVAL;
    if (chosen)
        ctl->output.columns = ctl->out;
    if (ctl->output.csv) {
        ctl->output.csv_heading = ctl->output.legend;
        ctl->output.legend = ctl->output.colour = false;
        ctl->output.width = 0;
    }
    return 0;
}

static int trouble_of(const struct verb *verb)
{
    if (verb->run == verb_status || verb->run == verb_findings || verb->run == verb_audit ||
        verb->run == verb_verify_log)
        return EXIT_TROUBLE;
    if (verb->run == verb_identify)
        return EXIT_NOT_IDENTIFIED;
    return verb->run == verb_compare ? EXIT_NOT_COMPARABLE : EXIT_FAILURE;
}

static int run(struct ctl *ctl, int argc, char **argv)
{
    struct given_options given = { .help = false };
    const struct verb *verb;
    int n, r = options_parse(ctl, argc, argv, &given);

    if (r < 0) {
        /* A command line that was not read to its end may have any verb; none is that of status. */
        for (int i = 1; i < argc; i++)
            if ((verb = find_verb(argv[i]))) {
                ctl->trouble = trouble_of(verb);
                break;
            }
        return r;
    }
    if (given.version)
        return printf("qcauditctl %s\n", PACKAGE_VERSION) < 0 ? -EIO : 0;
    n = argc - optind;
    verb = find_verb(n > 0 ? argv[optind] : "status");
    if (!verb) {
        _cleanup_free_ char *shown = text_escape_string(argv[optind]);
        return complain(0, "There is no verb '%s'. See: qcauditctl --help", shown), -EINVAL;
    }
    ctl->trouble = trouble_of(verb);
    if (given.help) {
        if (n > 0)
            print_verb_help(&ctl->output, verb);
        else
            print_help();
        return 0;
    }
    n = n > 0 ? n - 1 : 0;
    r = check_verb(ctl, verb, &given, n);
    if (r >= 0)
        r = set_list(ctl, verb, &given);
    return r < 0 ? r : verb->run(ctl, n, argv + argc - n);
}

int main(int argc, char **argv)
{
    struct ctl ctl = { .output = { .legend = true, .pager = true }, .trouble = EXIT_TROUBLE };
    bool plugin = nagios_is_wanted(argc, argv);
    int r, end;

    /* what is needed: each category is a file to open, and numbers are for programs, too */
    (void)setlocale(LC_CTYPE, "");
    (void)setlocale(LC_MESSAGES, "");
    (void)setlocale(LC_TIME, "");
    output_init(&ctl.output);
    r = plugin ? nagios_begin() : 0;
    if (r >= 0)
        r = run(&ctl, argc, argv);
    if (plugin)
        ctl.trouble = r < 0 ? nagios_fail(r) : NAGIOS_UNKNOWN;
    sd_bus_flush_close_unref(ctl.bus);
    free(ctl.output.tool);
    end = output_end(&ctl.output);
    if (end < 0 && end != -EPIPE)
        r = complain(end, "Cannot write the output");
    return r < 0 || end < 0 ? ctl.trouble : r;
}
