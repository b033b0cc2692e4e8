/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* catalogue: reads a list of known content, looks at its signature, and shows what would be taken
 * over. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/catalogue-list.h"
#include "ctl/catalogue-make.h"
#include "ctl/list.h"
#include "helpers/json-text.h"
#include "helpers/text.h"
#include "provenance/own-json.h"

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

/* ---- what is shown --------------------------------------------------------------------------- */

static int add_summary(const struct ctl *ctl, const struct catalogue_list *list,
                       json_object *object)
{
    json_object *signature = NULL;
    int r = json_add_text(object, "form", list->catalogue.form);

    if (r >= 0)
        r = json_add_number(object, "files", list->catalogue.n);
    if (r >= 0)
        r = json_add_number(object, "files-weak", list->n_weak);
    if (r >= 0)
        r = json_add_number(object, "passed-over", list->catalogue.passed_over);
    if (r < 0 || !list->is_signed)
        return r;
    signature = json_object_new_object();
    if (!signature)
        return -ENOMEM;
    r = json_add_text(signature, "method",
                      ctl->keyring ? "openpgp" : ctl->key ? "pem" : "x509");
    if (r >= 0)
        r = json_add_text(signature, "key", list->signature.key);
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

static const char *worth(const struct catalogue_list *list)
{
    if (list->is_signed)
        return "signed";
    for (size_t i = 0; i < list->catalogue.n; i++)
        if (list->catalogue.records[i].level == CATALOGUE_PINNED)
            return "pinned: not signed, taken over as it is";
    return "claim: not signed, and nothing that could be trusted";
}

static void print_heading(const struct ctl *ctl, const struct catalogue_list *list)
{
    const struct catalogue *catalogue = &list->catalogue;

    (void)printf("%s: %zu file%s, form %s\n", list->shown, catalogue->n,
                 catalogue->n == 1 ? "" : "s", catalogue->form);
    output_label(&ctl->output, 12, "Level");
    (void)printf("%s\n", worth(list));
    if (list->is_signed) {
        output_label(&ctl->output, 12, "Signed by");
        (void)printf("%s\n", list->signature.key);
    }
    if (list->n_weak > 0) {
        output_label(&ctl->output, 12, "Weak");
        (void)printf("%zu with MD5 or SHA-1 alone: a claim, whoever signed it\n",
                     list->n_weak);
    }
    if (catalogue->passed_over > 0) {
        output_label(&ctl->output, 12, "Passed over");
        (void)printf("%zu: no disks, or without a digest\n", catalogue->passed_over);
    }
    (void)putchar('\n');
}

static int show(struct ctl *ctl, const struct catalogue_list *list)
{
    _cleanup_(json_object_putp) json_object *object = NULL;
    json_object *rows;
    int r = catalogue_to_json(&list->catalogue, &object);

    if (r >= 0)
        r = add_summary(ctl, list, object);
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
            print_heading(ctl, list);
        r = print_table(ctl, rows);
    }
    return r < 0 ? complain(r, "Cannot show the list") : 0;
}

static int catalogue_check(struct ctl *ctl, int argc, char **argv)
{
    _cleanup_(catalogue_list_done) struct catalogue_list list = { .size = 0 };
    int r;

    if (argc != 1)
        return complain(0, "'catalogue check' takes one FILE."), -EINVAL;
    r = catalogue_list_read(ctl, argv[0], &list);
    return r < 0 ? r : show(ctl, &list);
}

int verb_catalogue(struct ctl *ctl, int argc, char **argv)
{
    _cleanup_free_ char *shown = NULL;

    if (strcmp(argv[0], "check") == 0)
        return catalogue_check(ctl, argc - 1, argv + 1);
    if (strcmp(argv[0], "make") == 0)
        return catalogue_make(ctl, argc - 1, argv + 1);
    shown = text_escape_string(argv[0]);
    return complain(0, "'catalogue %s' is not known: there are 'catalogue check FILE' and "
                    "'catalogue make IMAGE...'.", shown),
           -EINVAL;
}
