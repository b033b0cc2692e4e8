/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes as a list of known content; as what gpgv says; as a clear-signed text and an armour. */
#include <string.h>

#include "fuzz.h"
#include "helpers/text.h"
#include "provenance/own-json.h"
#include "provenance/signature-part.h"

DEFINE_CLEANUP(json_object *, json_object_put)

static void demand(bool condition)
{
    if (!condition)
        abort();
}

/* Nothing that leads anywhere, hurts a terminal, or has no digest. */
static void demand_sound(const struct catalogue_record *record, enum catalogue_level level)
{
    demand(record->name[0] && strlen(record->name) <= CATALOGUE_NAME_MAX);
    demand(!strchr(record->name, '/') && strcmp(record->name, "..") != 0);
    demand(text_is_safe(record->name, strlen(record->name)));
    demand(!record->family || text_is_safe(record->family, strlen(record->family)));
    demand(!record->version || text_is_safe(record->version, strlen(record->version)));
    demand(!record->title || text_is_safe(record->title, strlen(record->title)));
    demand(record->algorithms != 0 && record->level <= level);
    demand(!record->weak || record->level == CATALOGUE_CLAIM);
}

/* What is written of it is read again as the same. */
static void demand_same(const struct catalogue *catalogue)
{
    _cleanup_(json_object_putp) json_object *object = NULL;
    struct catalogue again;
    struct catalogue_problem problem;
    const char *text;

    demand(catalogue_to_json(catalogue, &object) == 0);
    text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN);
    if (catalogue_read(text, strlen(text), NULL, CATALOGUE_SIGNED, &again, &problem) < 0) {
        /* GNS3's names stand for several files. */
        demand(strcmp(catalogue->form, "gns3a") == 0);
        return;
    }
    demand(again.n == catalogue->n && strcmp(again.form, "qcaudit") == 0);
    for (size_t i = 0; i < again.n; i++) {
        demand(strcmp(again.records[i].name, catalogue->records[i].name) == 0);
        demand(again.records[i].algorithms == catalogue->records[i].algorithms);
        demand(catalogue_find_name(&again, again.records[i].name) != NULL);
    }
    catalogue_done(&again);
}

static void try_catalogue(const char *text, size_t size, const char *form)
{
    struct catalogue catalogue;
    struct catalogue_problem problem = { .line = 0 };
    int r = catalogue_read(text, size, form, CATALOGUE_SIGNED, &catalogue, &problem);

    if (r < 0) {
        demand(problem.reason[0] && text_is_safe(problem.reason, strlen(problem.reason)));
        return;
    }
    for (size_t i = 0; i < catalogue.n; i++)
        demand_sound(&catalogue.records[i], CATALOGUE_SIGNED);
    demand_same(&catalogue);
    catalogue_done(&catalogue);
}

static void try_signature(char *text, size_t size)
{
    struct signature_result result = { .problem = SIGNATURE_UNUSABLE };

    openpgp_judge(text, size, 0, "0123456789ABCDEF0123456789ABCDEF01234567", size % 2, &result);
    demand(text_is_safe(result.reason, strlen(result.reason)));
    (void)openpgp_is_clean(text, size, &result);
    (void)armour_decode(text, &size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = NULL;

    if (size > FUZZ_INPUT_MAX)
        return 0;
    /* Exactly as large, so that what reads beyond is seen. */
    text = malloc(size ? size : 1);
    if (!text)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    try_catalogue(text, size, NULL);
    for (size_t i = 0; catalogue_form_name(i); i++)
        try_catalogue(text, size, catalogue_form_name(i));
    try_signature(text, size);
    return 0;
}
