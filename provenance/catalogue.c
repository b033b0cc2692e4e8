/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records of catalogues: what is taken over, what is refused, and how two compare. */
#include "provenance/catalogue.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "helpers/hex.h"
#include "helpers/text.h"
#include "provenance/catalogue-form.h"

#define NO_RECORD UINT32_MAX
#define STRONG (1U << CATALOGUE_SHA256 | 1U << CATALOGUE_SHA384 | 1U << CATALOGUE_SHA512)

/* Records by the hash of their names: chains through next. */
struct catalogue_index {
    uint32_t *heads;            /* n_heads, a power of two */
    size_t n_heads;
    uint32_t *next;             /* by record, CATALOGUE_RECORDS_MAX */
};

/* ---- algorithms and levels ------------------------------------------------------------------- */

static const struct {
    const char *name;
    size_t size, offset;
} algorithms[_CATALOGUE_ALGORITHM_MAX] = {
    [CATALOGUE_MD5] = { "md5", 16, offsetof(struct catalogue_record, md5) },
    [CATALOGUE_SHA1] = { "sha1", 20, offsetof(struct catalogue_record, sha1) },
    [CATALOGUE_SHA256] = { "sha256", 32, offsetof(struct catalogue_record, sha256) },
    [CATALOGUE_SHA384] = { "sha384", 48, offsetof(struct catalogue_record, sha384) },
    [CATALOGUE_SHA512] = { "sha512", 64, offsetof(struct catalogue_record, sha512) },
};

const char *catalogue_algorithm_name(enum catalogue_algorithm algorithm)
{
    return algorithms[algorithm].name;
}

size_t catalogue_algorithm_size(enum catalogue_algorithm algorithm)
{
    return algorithms[algorithm].size;
}

const uint8_t *catalogue_digest(const struct catalogue_record *record,
                                enum catalogue_algorithm algorithm)
{
    if (!(record->algorithms & 1U << algorithm))
        return NULL;
    return (const uint8_t *)record + algorithms[algorithm].offset;
}

int catalogue_algorithm_parse(const char *name, size_t length,
                              enum catalogue_algorithm *ret_algorithm)
{
    char plain[16];
    size_t n = 0;

    /* OpenSSL calls SHA-256 SHA2-256 since its version 3. */
    if (length > 5 && strncasecmp(name, "SHA2-", 5) == 0) {
        memcpy(plain, "sha", 3);
        n = 3;
        name += 5;
        length -= 5;
    }
    for (size_t i = 0; i < length && n < sizeof(plain); i++)
        if (name[i] != '-')
            plain[n++] = name[i];
    for (int i = 0; i < _CATALOGUE_ALGORITHM_MAX; i++)
        if (strlen(algorithms[i].name) == n && strncasecmp(algorithms[i].name, plain, n) == 0) {
            *ret_algorithm = (enum catalogue_algorithm)i;
            return 0;
        }
    return -ENOENT;
}

int catalogue_algorithm_of_length(size_t digits, enum catalogue_algorithm *ret_algorithm)
{
    for (int i = 0; i < _CATALOGUE_ALGORITHM_MAX; i++)
        if (digits == 2 * algorithms[i].size) {
            *ret_algorithm = (enum catalogue_algorithm)i;
            return 0;
        }
    return -EBADMSG;
}

int catalogue_set_digest(struct catalogue_record *record, enum catalogue_algorithm algorithm,
                         const char *digits, size_t length)
{
    uint8_t *digest = (uint8_t *)record + algorithms[algorithm].offset;

    if (length != 2 * algorithms[algorithm].size)
        return -EBADMSG;
    for (size_t i = 0; i < length; i++)
        if (hex_digit(digits[i]) < 0)
            return -EBADMSG;
    for (size_t i = 0; i < length / 2; i++)
        digest[i] = (uint8_t)(hex_digit(digits[2 * i]) << 4 | hex_digit(digits[2 * i + 1]));
    record->algorithms |= 1U << algorithm;
    return 0;
}

const char *catalogue_level_name(enum catalogue_level level)
{
    static const char *const names[] = { "claim", "pinned", "signed" };

    return names[level];
}

/* ---- refusing -------------------------------------------------------------------------------- */

static size_t line_of(const struct catalogue_reader *reader, const char *at)
{
    size_t line = 1;

    if (!at)
        return 0;
    for (const char *p = reader->text; p < at && (p = memchr(p, '\n', (size_t)(at - p))); p++)
        line++;
    return line;
}

int catalogue_refuse(struct catalogue_reader *reader, const char *at, const char *format, ...)
{
    va_list ap;

    reader->problem->line = line_of(reader, at);
    va_start(ap, format);
    (void)vsnprintf(reader->problem->reason, sizeof(reader->problem->reason), format, ap);
    va_end(ap);
    return -EBADMSG;
}

int catalogue_refuse_shown(struct catalogue_reader *reader, const char *at, const char *reason,
                           const char *text, size_t length)
{
    _cleanup_free_ char *shown = NULL;

    if (text_escape(text, length < 40 ? length : 40, &shown) < 0)
        return -ENOMEM;
    return catalogue_refuse(reader, at, "%s: \"%.160s%s\"", reason, shown,
                            length < 40 ? "" : "...");
}

/* ---- what is taken over ---------------------------------------------------------------------- */

bool catalogue_name_is_sound(const char *name, size_t length, const char **ret_reason)
{
    *ret_reason = "a file has no name";
    if (length == 0)
        return false;
    *ret_reason = "a name is longer than 255 bytes";
    if (length > CATALOGUE_NAME_MAX)
        return false;
    *ret_reason = "a name leads into a folder";
    if (memchr(name, '/', length) || (length == 1 && name[0] == '.') ||
        (length == 2 && memcmp(name, "..", 2) == 0))
        return false;
    *ret_reason = "a name is no valid UTF-8";
    if (!text_is_utf8(name, length))
        return false;
    *ret_reason = "a name holds control characters, or ones that hide others";
    return text_is_safe(name, length);
}

/* Family, version and title are shown, and compared: as a name, but any text. */
static bool words_are_sound(const char *words)
{
    return !words ||
           (strlen(words) <= CATALOGUE_WORDS_MAX && text_is_safe(words, strlen(words)));
}

static uint64_t name_hash(const char *name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);       /* FNV-1a */

    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 32;
}

static bool is_same_file(const struct catalogue_record *a, const struct catalogue_record *b)
{
    return strcmp(a->name, b->name) == 0 && text_equal(a->version, b->version) &&
           text_equal(a->family, b->family);
}

static int index_new(struct catalogue_index **ret_index)
{
    struct catalogue_index *index = calloc(1, sizeof(*index));

    if (!index)
        return -ENOMEM;
    index->n_heads = 1 << 17;
    index->heads = malloc(index->n_heads * sizeof(*index->heads));
    index->next = malloc(CATALOGUE_RECORDS_MAX * sizeof(*index->next));
    if (!index->heads || !index->next) {
        free(index->heads);
        free(index->next);
        free(index);
        return -ENOMEM;
    }
    memset(index->heads, 0xff, index->n_heads * sizeof(*index->heads));
    *ret_index = index;
    return 0;
}

static void index_free(struct catalogue_index *index)
{
    if (!index)
        return;
    free(index->heads);
    free(index->next);
    free(index);
}

static void record_done(struct catalogue_record *record)
{
    free(record->name);
    free(record->family);
    free(record->version);
    free(record->title);
}

void catalogue_done(struct catalogue *catalogue)
{
    for (size_t i = 0; i < catalogue->n; i++)
        record_done(&catalogue->records[i]);
    free(catalogue->records);
    index_free(catalogue->index);
    *catalogue = (struct catalogue){ .n = 0 };
}

/* *ret is NULL for NULL, and for "". */
static int copy(const char *text, char **ret)
{
    if (!text || !*text)
        return 0;
    *ret = strdup(text);
    return *ret ? 0 : -ENOMEM;
}

static int append(struct catalogue *catalogue, const struct catalogue_record *record)
{
    size_t n = catalogue->allocated ? 2 * catalogue->allocated : 256;
    struct catalogue_record *records = catalogue->records, *new;
    uint32_t *head;

    if (catalogue->n == catalogue->allocated) {
        records = reallocarray(records, n, sizeof(*records));
        if (!records)
            return -ENOMEM;
        catalogue->records = records;
        catalogue->allocated = n;
    }
    new = &records[catalogue->n];
    *new = *record;
    new->name = new->family = new->version = new->title = NULL;
    if (copy(record->name, &new->name) < 0 || copy(record->family, &new->family) < 0 ||
        copy(record->version, &new->version) < 0 || copy(record->title, &new->title) < 0) {
        record_done(new);
        return -ENOMEM;
    }
    head = &catalogue->index->heads[name_hash(record->name) & (catalogue->index->n_heads - 1)];
    catalogue->index->next[catalogue->n] = *head;
    *head = (uint32_t)catalogue->n++;
    return 0;
}

/* Do digests of the same algorithm differ? Sizes? */
static bool differs(const struct catalogue_record *a, const struct catalogue_record *b)
{
    if (a->has_content && b->has_content &&
        memcmp(a->content, b->content, sizeof(a->content)) != 0)
        return true;
    for (int i = 0; i < _CATALOGUE_ALGORITHM_MAX; i++) {
        const uint8_t *of_a = catalogue_digest(a, (enum catalogue_algorithm)i),
                      *of_b = catalogue_digest(b, (enum catalogue_algorithm)i);

        if (of_a && of_b && memcmp(of_a, of_b, algorithms[i].size) != 0)
            return true;
    }
    return a->size != CATALOGUE_SIZE_UNKNOWN && b->size != CATALOGUE_SIZE_UNKNOWN &&
           a->size != b->size;
}

/* What the list says in another place of the same file. */
static void merge(struct catalogue_record *record, const struct catalogue_record *more)
{
    for (int i = 0; i < _CATALOGUE_ALGORITHM_MAX; i++) {
        const uint8_t *digest = catalogue_digest(more, (enum catalogue_algorithm)i);

        if (digest)
            memcpy((uint8_t *)record + algorithms[i].offset, digest, algorithms[i].size);
    }
    record->algorithms |= more->algorithms;
    if (more->has_content) {
        memcpy(record->content, more->content, sizeof(record->content));
        record->has_content = true;
    }
    if (record->size == CATALOGUE_SIZE_UNKNOWN)
        record->size = more->size;
}

/* The record of the same file, NULL: there is none. With names_repeat, one of the same bytes. */
static int find_same(struct catalogue_reader *reader, const char *at,
                     const struct catalogue_record *record, struct catalogue_record **ret_same)
{
    const struct catalogue_index *index = reader->catalogue->index;
    uint32_t i = index->heads[name_hash(record->name) & (index->n_heads - 1)];
    size_t steps = 0;

    for (; i != NO_RECORD; i = index->next[i]) {
        struct catalogue_record *other = &reader->catalogue->records[i];

        /* Names may be chosen so that they all fall into one chain. */
        if (++steps > 1000)
            return catalogue_refuse_shown(reader, at, "too many files are named alike",
                                          record->name, strlen(record->name));
        if (!is_same_file(other, record))
            continue;
        if (!differs(other, record)) {
            *ret_same = other;
            return 0;
        }
        if (!reader->names_repeat)
            return catalogue_refuse_shown(reader, at, "a file is listed twice, with other digests "
                                          "or another size", record->name, strlen(record->name));
    }
    *ret_same = NULL;
    return 0;
}

static const char *refused_words(const struct catalogue_record *record)
{
    const char *reason;

    if (!catalogue_name_is_sound(record->name, strlen(record->name), &reason))
        return reason;
    if (!words_are_sound(record->family) || !words_are_sound(record->version) ||
        !words_are_sound(record->title))
        return "family, version or title is longer than 255 bytes, or cannot be printed";
    return record->algorithms == 0 && !record->has_content ? "a file has no digest" : NULL;
}

int catalogue_add(struct catalogue_reader *reader, const char *at,
                  const struct catalogue_record *said)
{
    struct catalogue_record plain = *said, *record = &plain, *same = NULL;
    struct catalogue *catalogue = reader->catalogue;
    const char *reason = refused_words(said);
    int r = 0;

    /* An empty word says as much as none. */
    record->family = said->family && *said->family ? said->family : NULL;
    record->version = said->version && *said->version ? said->version : NULL;
    if (reason)
        return catalogue_refuse_shown(reader, at, reason, said->name, strlen(said->name));
    if (!catalogue->index)
        r = index_new(&catalogue->index);
    if (r >= 0)
        r = find_same(reader, at, record, &same);
    if (r < 0)
        return r;
    if (same) {
        merge(same, record);
        return 0;
    }
    if (catalogue->n >= CATALOGUE_RECORDS_MAX)
        return catalogue_refuse(reader, at, "more than %d files are listed",
                                CATALOGUE_RECORDS_MAX);
    return append(catalogue, record);
}

const struct catalogue_record *catalogue_find_name(const struct catalogue *catalogue,
                                                   const char *name)
{
    const struct catalogue_record *found = NULL;
    const struct catalogue_index *index = catalogue->index;

    if (!index)
        return NULL;
    for (uint32_t i = index->heads[name_hash(name) & (index->n_heads - 1)]; i != NO_RECORD;
         i = index->next[i])
        if (strcmp(catalogue->records[i].name, name) == 0)
            found = &catalogue->records[i];     /* chains begin at the last one */
    return found;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* In the order of their probes: sums is what nothing else is. */
static const struct catalogue_form *const forms[] = {
    &catalogue_form_own, &catalogue_form_gns3a, &catalogue_form_simplestreams, &catalogue_form_kgv,
    &catalogue_form_glance, &catalogue_form_virt_builder, &catalogue_form_sums,
};

const char *catalogue_form_name(size_t index)
{
    return index < ELEMENTSOF(forms) ? forms[index]->name : NULL;
}

static const struct catalogue_form *find_form(const struct catalogue_reader *reader,
                                              const char *name)
{
    for (size_t i = 0; i < ELEMENTSOF(forms); i++)
        if (name ? strcmp(forms[i]->name, name) == 0 : forms[i]->probe(reader->text, reader->size))
            return forms[i];
    return NULL;
}

static int check_text(struct catalogue_reader *reader)
{
    const char *nul;
    size_t lines = 0;

    if (reader->size > CATALOGUE_TEXT_MAX)
        return catalogue_refuse(reader, NULL, "the list is larger than 64 MiB");
    nul = memchr(reader->text, 0, reader->size);
    if (nul)
        return catalogue_refuse(reader, nul, "the list holds a NUL");
    for (const char *p = reader->text, *end = p + reader->size;
         p < end && (p = memchr(p, '\n', (size_t)(end - p))); p++)
        if (++lines > CATALOGUE_LINES_MAX)
            return catalogue_refuse(reader, NULL, "the list has more than %d lines",
                                    CATALOGUE_LINES_MAX);
    return 0;
}

static void set_levels(struct catalogue *catalogue, const struct catalogue_form *form,
                       enum catalogue_level level)
{
    if (level < CATALOGUE_SIGNED && level > form->best)
        level = form->best;
    for (size_t i = 0; i < catalogue->n; i++) {
        struct catalogue_record *record = &catalogue->records[i];

        record->weak = !(record->algorithms & STRONG) && !record->has_content;
        record->level = record->weak ? CATALOGUE_CLAIM : level;
    }
}

int catalogue_read(const char *text, size_t size, const char *form_name,
                   enum catalogue_level level, struct catalogue *ret_catalogue,
                   struct catalogue_problem *ret_problem)
{
    _cleanup_(catalogue_donep) struct catalogue *catalogue = &(struct catalogue){ .n = 0 };
    struct catalogue_problem problem = { .line = 0 };
    struct catalogue_reader reader = {
        .text = text, .size = size, .catalogue = catalogue, .problem = &problem,
    };
    const struct catalogue_form *form = NULL;
    int r = check_text(&reader);

    if (r >= 0) {
        form = find_form(&reader, form_name);
        if (!form)
            r = catalogue_refuse(&reader, NULL, "the list has none of the known forms");
    }
    if (r >= 0) {
        reader.names_repeat = form->names_repeat;
        r = form->read(&reader);
    }
    if (r >= 0 && catalogue->n == 0)
        r = catalogue_refuse(&reader, NULL, "no file with a digest is listed");
    if (r == -EBADMSG)
        *ret_problem = problem;
    if (r < 0)
        return r;
    set_levels(catalogue, form, level);
    catalogue->form = form->name;
    *ret_catalogue = *catalogue;
    *catalogue = (struct catalogue){ .n = 0 };
    return 0;
}

/* ---- two records ----------------------------------------------------------------------------- */

enum catalogue_relation catalogue_compare(const struct catalogue_record *a,
                                          const struct catalogue_record *b)
{
    bool same_file = is_same_file(a, b);

    if (a->size != CATALOGUE_SIZE_UNKNOWN && b->size != CATALOGUE_SIZE_UNKNOWN &&
        a->size != b->size)
        return same_file ? CATALOGUE_CONTRADICTION : CATALOGUE_APART;
    for (int i = _CATALOGUE_ALGORITHM_MAX - 1; i >= 0; i--) {
        const uint8_t *of_a = catalogue_digest(a, (enum catalogue_algorithm)i),
                      *of_b = catalogue_digest(b, (enum catalogue_algorithm)i);

        if (!of_a || !of_b)
            continue;
        if (memcmp(of_a, of_b, algorithms[i].size) == 0)
            return CATALOGUE_SAME;
        return same_file ? CATALOGUE_CONTRADICTION : CATALOGUE_APART;
    }
    return CATALOGUE_APART;
}

bool catalogue_overrides(const struct catalogue_record *new, const struct catalogue_record *old)
{
    return new->level >= old->level;
}
