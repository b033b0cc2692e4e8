/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* catalogue: reads a list of known content, looks at its signature, and shows what would be taken
 * over. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "ctl/list.h"
#include "helpers/hex.h"
#include "helpers/json-text.h"
#include "helpers/text.h"
#include "provenance/own-json.h"
#include "provenance/signature.h"

#define ROWS_SHOWN 20           /* of the table, unless it is asked for as a list */

static const struct column columns[] = {
    { "NAME", COLUMN_FLEXIBLE, "name" },
    { "SIZE", COLUMN_RIGHT | COLUMN_SIZE, "size" },
    { "FAMILY", COLUMN_CUT, "family" },
    { "VERSION", COLUMN_CUT, "version" },
    { "LEVEL", 0, "level" },
    { "DIGESTS", 0, "digests" },
    { "TITLE", COLUMN_CUT, "title" },
    { "MD5", 0, "md5" },
    { "SHA1", 0, "sha1" },
    { "SHA256", 0, "sha256" },
    { "SHA384", 0, "sha384" },
    { "SHA512", 0, "sha512" },
};
enum { NAME, SIZE, FAMILY, VERSION, LEVEL, DIGESTS, TITLE, FIRST_DIGEST };

/* A list, what its signature says, and what is read of it. */
struct checked {
    const char *shown;          /* its name, safe to print */
    char *text;
    size_t size;
    bool is_signed;
    struct signature_result signature;
    struct catalogue catalogue;
    size_t n_weak;
};

static void checked_done(struct checked *checked)
{
    free(checked->text);
    signature_result_done(&checked->signature);
    catalogue_done(&checked->catalogue);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Opens a file that an option names; complains. */
static int open_named(const char *path, bool trusted, int *ret_fd)
{
    _cleanup_free_ char *shown = text_escape_string(path), *why = NULL;
    int r = signature_open(path, trusted, ret_fd, &why);

    if (r >= 0)
        return 0;
    if (why)
        return complain(0, "%s is not used: %s.", shown, why), r;
    return complain(r, "Cannot open %s", shown);
}

static int read_all(int fd, size_t size, char **ret_text, size_t *ret_size)
{
    _cleanup_free_ char *text = malloc(size + 1);
    size_t n = 0;

    if (!text)
        return -ENOMEM;
    while (n < size) {
        ssize_t got = read(fd, text + n, size - n);

        if (got < 0 && errno != EINTR)
            return -errno;
        if (got == 0)
            break;
        n += got > 0 ? (size_t)got : 0;
    }
    text[n] = '\0';
    *ret_text = TAKE_PTR(text);
    *ret_size = n;
    return 0;
}

/* The list may be reached over a link: its bytes are what is looked at. */
static int read_list(const char *path, struct checked *checked)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    int r;

    if (fd < 0 || fstat(fd, &st) < 0)
        return complain(-errno, "Cannot open %s", checked->shown);
    if (!S_ISREG(st.st_mode))
        return complain(0, "%s is no regular file.", checked->shown), -EMEDIUMTYPE;
    if ((uint64_t)st.st_size > CATALOGUE_TEXT_MAX)
        return complain(0, "%s is refused: the list is larger than 64 MiB.", checked->shown),
               -EFBIG;
    r = read_all(fd, (size_t)st.st_size, &checked->text, &checked->size);
    return r < 0 ? complain(r, "Cannot read %s", checked->shown) : 0;
}

/* ---- the signature --------------------------------------------------------------------------- */

/* Which of the three ways the options name; complains when they do not go together. */
static int find_method(const struct ctl *ctl, struct signature_ask *ask)
{
    int n = !!ctl->keyring + !!ctl->key + !!ctl->root;
    const char *wrong = NULL;

    if (n > 1)
        wrong = "one of --keyring, --key and --root says by whom it is signed";
    else if (n == 0 && (ctl->signature || ctl->fingerprint || ctl->subject || ctl->certificates))
        wrong = "by whom it is to be signed is said by --keyring, --key or --root";
    else if (!!ctl->keyring != !!ctl->fingerprint)
        wrong = "--keyring and --fingerprint go together: the keyring says how to check, the "
                "fingerprint whom to trust";
    else if (!!ctl->root != !!ctl->subject || (ctl->certificates && !ctl->root))
        wrong = "--root and --subject go together, and --certificates with them";
    else if ((ctl->key || ctl->root) && !ctl->signature)
        wrong = "--key and --root need the --signature";
    if (wrong)
        return complain(0, "%s.", wrong), -EINVAL;
    ask->method = ctl->keyring ? SIGNATURE_OPENPGP : ctl->key ? SIGNATURE_PEM : SIGNATURE_X509;
    ask->pinned = ctl->keyring ? ctl->fingerprint : ctl->subject;
    return n;
}

static int ask_signature(const struct ctl *ctl, struct signature_ask *ask, struct checked *checked)
{
    const char *path = ctl->keyring ? ctl->keyring : ctl->key ? ctl->key : ctl->root;
    _cleanup_close_ int data = -1, signature = -1, keys = -1, certificates = -1;
    int r = open_named(path, true, &keys);

    if (r >= 0 && ctl->signature)
        r = open_named(ctl->signature, false, &signature);
    if (r >= 0 && ctl->certificates)
        r = open_named(ctl->certificates, false, &certificates);
    if (r < 0)
        return r;
    r = signature_memory(checked->text, checked->size, &data);
    if (r >= 0) {
        ask->data = data;
        ask->signature = signature;
        ask->keys = keys;
        ask->certificates = certificates;
        r = signature_verify(ask, &checked->signature);
    }
    return r < 0 ? complain(r, "Cannot look at the signature of %s", checked->shown) : 0;
}

/* 0 when it is signed as it should be, or need not be. */
static int check_signature(const struct ctl *ctl, struct checked *checked)
{
    struct signature_ask ask = { .data = -1 };
    int r = find_method(ctl, &ask);

    if (r <= 0)
        return r;
    r = ask_signature(ctl, &ask, checked);
    if (r < 0)
        return r;
    checked->is_signed = checked->signature.problem == SIGNATURE_GOOD;
    if (checked->is_signed)
        return 0;
    return complain(0, "%s is refused: its signature is not good (%s): %s.", checked->shown,
                    signature_problem_name(checked->signature.problem), checked->signature.reason),
           -EPERM;
}

/* ---- the list -------------------------------------------------------------------------------- */

/* Of a clear-signed list, what is signed, and nothing else. */
static int read_catalogue(struct checked *checked)
{
    bool inner = checked->signature.text != NULL;
    struct catalogue_problem problem;
    int r = catalogue_read(inner ? checked->signature.text : checked->text,
                           inner ? checked->signature.size : checked->size, NULL,
                           checked->is_signed ? CATALOGUE_SIGNED : CATALOGUE_PINNED,
                           &checked->catalogue, &problem);

    if (r == -EBADMSG && problem.line > 0)
        return complain(0, "%s:%zu%s: refused: %s.", checked->shown, problem.line,
                        inner ? " of what is signed" : "", problem.reason), r;
    if (r == -EBADMSG)
        return complain(0, "%s is refused: %s.", checked->shown, problem.reason), r;
    if (r < 0)
        return complain(r, "Cannot read %s", checked->shown);
    for (size_t i = 0; i < checked->catalogue.n; i++)
        checked->n_weak += checked->catalogue.records[i].weak;
    if (checked->is_signed && checked->n_weak == checked->catalogue.n)
        return complain(0, "%s is refused: all its digests are MD5 or SHA-1, so that the signature "
                        "says nothing (weak): without it, they are a claim.", checked->shown),
               -EPERM;
    return 0;
}

/* ---- what is shown --------------------------------------------------------------------------- */

static int add_summary(const struct ctl *ctl, const struct checked *checked, json_object *object)
{
    json_object *signature = NULL;
    int r = json_add_text(object, "form", checked->catalogue.form);

    if (r >= 0)
        r = json_add_number(object, "files", checked->catalogue.n);
    if (r >= 0)
        r = json_add_number(object, "files-weak", checked->n_weak);
    if (r >= 0)
        r = json_add_number(object, "passed-over", checked->catalogue.passed_over);
    if (r < 0 || !checked->is_signed)
        return r;
    signature = json_object_new_object();
    if (!signature)
        return -ENOMEM;
    r = json_add_text(signature, "method",
                      ctl->keyring ? "openpgp" : ctl->key ? "pem" : "x509");
    if (r >= 0)
        r = json_add_text(signature, "key", checked->signature.key);
    if (r >= 0)
        return json_add(object, "signature", signature);
    json_object_put(signature);
    return r;
}

/* "sha256 md5", the strongest first. malloc'd; NULL without memory. */
static char *digests_of(json_object *row)
{
    char text[64] = "";

    for (int i = _CATALOGUE_ALGORITHM_MAX - 1; i >= 0; i--) {
        const char *name = catalogue_algorithm_name((enum catalogue_algorithm)i);

        if (!row_has(row, name))
            continue;
        if (text[0])
            strcat(text, " ");
        strcat(text, name);
    }
    return strdup(text);
}

static int print_row(const struct ctl *ctl, struct table *table, json_object *row)
{
    bool weak = row_bool(row, "weak");
    char size[TEXT_SIZE_MAX] = "-";
    int r = table_row(table, row);

    if (row_has(row, "size") && ctl->output.bytes)
        (void)snprintf(size, sizeof(size), "%" PRIu64, row_number(row, "size"));
    else if (row_has(row, "size"))
        (void)text_size(row_number(row, "size"), size);
    if (r >= 0)
        r = table_take(table, NAME, row_text(row, "name"), COLOUR_OFF);
    if (r >= 0)
        r = table_cell(table, SIZE, size, COLOUR_OFF);
    for (size_t i = FAMILY; r >= 0 && i < ELEMENTSOF(columns); i++)
        r = table_take(table, i,
                       i == DIGESTS ? digests_of(row) : row_text(row, columns[i].key),
                       weak && (i == DIGESTS || i == LEVEL) ? COLOUR_YELLOW : COLOUR_OFF);
    return r;
}

static int print_table(const struct ctl *ctl, json_object *rows)
{
    size_t n = json_object_array_length(rows);
    bool list = output_is_list(&ctl->output) || ctl->output.csv;
    _cleanup_(table_freep) struct table *table = NULL;
    int r = table_new(&ctl->output, columns, ELEMENTSOF(columns), &table);

    if (!list && !ctl->output.full && n > ROWS_SHOWN)
        n = ROWS_SHOWN;
    for (size_t i = TITLE; r >= 0 && i < ELEMENTSOF(columns); i++)
        table_hide(table, i);
    for (size_t i = 0; r >= 0 && i < n; i++)
        r = print_row(ctl, table, json_object_array_get_idx(rows, i));
    if (r >= 0)
        r = table_print(table);
    if (r >= 0 && !list && n < json_object_array_length(rows))
        (void)printf("... and %zu more: all of them with --full.\n",
                     json_object_array_length(rows) - n);
    return r;
}

static const char *worth(const struct checked *checked)
{
    if (checked->is_signed)
        return "signed";
    for (size_t i = 0; i < checked->catalogue.n; i++)
        if (checked->catalogue.records[i].level == CATALOGUE_PINNED)
            return "pinned: not signed, taken over as it is";
    return "claim: not signed, and nothing that could be trusted";
}

static void print_heading(const struct ctl *ctl, const struct checked *checked)
{
    const struct catalogue *catalogue = &checked->catalogue;

    (void)printf("%s: %zu file%s, form %s\n", checked->shown, catalogue->n,
                 catalogue->n == 1 ? "" : "s", catalogue->form);
    output_label(&ctl->output, 12, "Level");
    (void)printf("%s\n", worth(checked));
    if (checked->is_signed) {
        output_label(&ctl->output, 12, "Signed by");
        (void)printf("%s\n", checked->signature.key);
    }
    if (checked->n_weak > 0) {
        output_label(&ctl->output, 12, "Weak");
        (void)printf("%zu with MD5 or SHA-1 alone: a claim, whoever signed it\n",
                     checked->n_weak);
    }
    if (catalogue->passed_over > 0) {
        output_label(&ctl->output, 12, "Passed over");
        (void)printf("%zu: no disks, or without a digest\n", catalogue->passed_over);
    }
    (void)putchar('\n');
}

static int show(struct ctl *ctl, const struct checked *checked)
{
    _cleanup_(json_object_putp) json_object *object = NULL;
    json_object *rows;
    int r = catalogue_to_json(&checked->catalogue, &object);

    if (r >= 0)
        r = add_summary(ctl, checked, object);
    if (r < 0)
        return complain(r, "Cannot show the list");
    rows = json_object_object_get(object, "records");
    r = list_arrange(&ctl->output, columns, ELEMENTSOF(columns), 0, rows);
    if (r < 0)
        return r;
    output_begin(&ctl->output);
    if (ctl->output.json != JSON_OFF) {
        r = output_json(&ctl->output, object);
    } else {
        if (!output_is_list(&ctl->output) && !ctl->output.csv && ctl->output.legend)
            print_heading(ctl, checked);
        r = print_table(ctl, rows);
    }
    return r < 0 ? complain(r, "Cannot show the list") : 0;
}

int verb_catalogue(struct ctl *ctl, int argc, char **argv)
{
    _cleanup_(checked_done) struct checked checked = { .is_signed = false };
    _cleanup_free_ char *shown = NULL;
    int r;

    if (strcmp(argv[0], "check") != 0) {
        shown = text_escape_string(argv[0]);
        return complain(0, "'catalogue %s' is not known: there is 'catalogue check FILE'.", shown),
               -EINVAL;
    }
    shown = text_escape_string(argv[1]);
    if (!shown)
        return complain(-ENOMEM, "Cannot read the list");
    checked.shown = shown;
    r = read_list(argv[1], &checked);
    if (r >= 0)
        r = check_signature(ctl, &checked);
    if (r >= 0)
        r = read_catalogue(&checked);
    return r < 0 ? r : show(ctl, &checked);
}
