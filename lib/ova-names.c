/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The files that an appliance's descriptor (DMTF DSP0243 2.1, 7.1: File elements) and its manifest
 * (9: "ALGORITHM(NAME)= DIGEST") name: are they there, with these digests? */
#include "ova.h"

#include <errno.h>
#include <strings.h>

#include "bytes.h"
#include "io.h"

/* A piece of a text, that does not end in a NUL. */
struct piece {
    const char *at;
    size_t size;
};

static bool piece_is(struct piece piece, const char *text)
{
    return strlen(text) == piece.size && memcmp(piece.at, text, piece.size) == 0;
}

static bool piece_has(struct piece piece, char c)
{
    return memchr(piece.at, c, piece.size) != NULL;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct piece piece_trim(struct piece piece)
{
    while (piece.size > 0 && is_space(piece.at[0]))
        piece = (struct piece) { piece.at + 1, piece.size - 1 };
    while (piece.size > 0 && is_space(piece.at[piece.size - 1]))
        piece.size--;
    return piece;
}

/* The part behind an XML prefix. */
static struct piece piece_local(struct piece name)
{
    const char *colon = memchr(name.at, ':', name.size);
    size_t skip = colon ? (size_t)(colon + 1 - name.at) : 0;

    return (struct piece) { name.at + skip, name.size - skip };
}

/* ---- members ------------------------------------------------------------------------------- */

static bool has_ending(const struct ova_member *member, const char *ending)
{
    size_t length = strlen(member->name), n = strlen(ending);

    return length > n && strcasecmp(member->name + length - n, ending) == 0;
}

/* "./disk.vmdk" is "disk.vmdk". */
static struct piece plain_name(struct piece name)
{
    while (name.size > 2 && name.at[0] == '.' && name.at[1] == '/')
        name = (struct piece) { name.at + 2, name.size - 2 };
    return name;
}

/* The last one of that name: an archive that was appended to has the newer file behind. */
static const struct ova_member *member_find(const struct ova *ova, struct piece name)
{
    name = plain_name(name);
    for (size_t i = ova->n; i > 0; i--) {
        const struct ova_member *member = &ova->members[i - 1];
        struct piece other = plain_name((struct piece) { member->name, strlen(member->name) });

        if (other.size == name.size && memcmp(other.at, name.at, name.size) == 0)
            return member;
    }
    return NULL;
}

/* A member with a name that is too long to be kept may be any. */
static bool all_have_names(const struct ova *ova)
{
    for (size_t i = 0; i < ova->n; i++)
        if (ova->members[i].name[0] == '\0')
            return false;
    return true;
}

/* at: where in the text of this member the name is. */
static int missing(const struct ova *ova, const struct ova_member *text, size_t at)
{
    struct qca_issue issue = check_issue_new(QCA_ISSUE_MEMBER_MISSING, QCA_TABLE_DESCRIPTOR);

    issue.table_offset = text->offset;
    issue.index = at;
    return check_issue(ova->check, &issue);
}

/* NULL when it is too long to be looked at, or not whole. To be freed by the caller. */
static int text_read(const struct ova *ova, const struct ova_member *member, char **ret_text)
{
    char *text;
    int r;

    if (member->size == 0 || member->size > OVA_TEXT_MAX || !member->whole) {
        *ret_text = NULL;
        return 0;
    }
    text = malloc(member->size);
    if (!text)
        return -ENOMEM;
    r = qca_io_read(ova->image->io, member->offset, text, member->size);
    if (r < 0) {
        free(text);
        return r;
    }
    *ret_text = text;
    return 0;
}

/* ---- the descriptor ------------------------------------------------------------------------ */

/* NAME="VALUE" at the beginning of rest, which is moved behind it. False: there is no more. */
static bool attribute_next(struct piece *rest, struct piece *ret_name, struct piece *ret_value)
{
    struct piece at = piece_trim(*rest);
    const char *equals = memchr(at.at, '=', at.size), *begin, *end;
    size_t left;

    if (!equals)
        return false;
    *ret_name = piece_local(piece_trim((struct piece) { at.at, (size_t)(equals - at.at) }));
    left = at.size - (size_t)(equals + 1 - at.at);
    for (begin = equals + 1; left > 0 && is_space(*begin); left--)
        begin++;
    if (left < 2 || (*begin != '"' && *begin != '\''))
        return false;
    end = memchr(begin + 1, *begin, left - 1);
    if (!end)
        return false;
    *ret_value = (struct piece) { begin + 1, (size_t)(end - begin - 1) };
    *rest = (struct piece) { end + 1, left - (size_t)(end + 1 - begin) };
    return true;
}

/* A file that is in the archive by its plain name: not one elsewhere (7.1: an URL), one with
 * characters that are written in another way, or one in pieces (7.1: chunkSize). */
static bool file_is_plain(struct piece href, bool chunks)
{
    return href.size > 0 && !chunks && href.at[0] != '/' && !piece_has(href, ':') &&
           !piece_has(href, '%') && !piece_has(href, '&');
}

static int file_check(struct ova *ova, const struct ova_member *text, const char *begin,
                      struct piece element)
{
    struct piece name, value, href = { "", 0 };
    bool chunks = false;

    while (attribute_next(&element, &name, &value)) {
        if (piece_is(name, "href"))
            href = value;
        chunks |= piece_is(name, "chunkSize");
    }
    if (!file_is_plain(href, chunks) || ova->names++ >= OVA_NAMES_MAX || member_find(ova, href))
        return 0;
    return missing(ova, text, (size_t)(href.at - begin));
}

static const char *find(struct piece text, const char *what)
{
    return memmem(text.at, text.size, what, strlen(what));
}

/* Length of the markup that begins with '<' at at, up to where the next may begin; 0 when it does
 * not end. *ret_inner: of a File element, its attributes; else empty. */
static size_t markup_length(struct piece at, struct piece *ret_inner)
{
    size_t name = 1, end;
    bool comment = at.size >= 4 && memcmp(at.at, "<!--", 4) == 0;
    const char *last = comment ? find(at, "-->") : NULL;
    char quote = '\0';

    *ret_inner = (struct piece) { at.at, 0 };
    if (comment)
        return last ? (size_t)(last - at.at) + 3 : 0;
    while (name < at.size && !is_space(at.at[name]) && at.at[name] != '>' && at.at[name] != '/')
        name++;
    for (end = name; end < at.size && (quote != '\0' || at.at[end] != '>'); end++) {
        if (quote == '\0' && (at.at[end] == '"' || at.at[end] == '\''))
            quote = at.at[end];
        else if (at.at[end] == quote)
            quote = '\0';
    }
    if (end == at.size)
        return 0;
    if (piece_is(piece_local((struct piece) { at.at + 1, name - 1 }), "File"))
        *ret_inner = (struct piece) { at.at + name, end - name };
    return end + 1;
}

static int descriptor_check(struct ova *ova, const struct ova_member *member)
{
    _cleanup_free_ char *text = NULL;
    int r = text_read(ova, member, &text);
    struct piece rest = { text, member->size };

    while (r == 0 && text && rest.size > 0) {
        const char *begin = memchr(rest.at, '<', rest.size);
        struct piece inner;
        size_t length;

        if (!begin)
            return 0;
        rest = (struct piece) { begin, rest.size - (size_t)(begin - rest.at) };
        length = markup_length(rest, &inner);
        if (length == 0)
            return 0;
        if (inner.size > 0)
            r = file_check(ova, member, text, inner);
        rest = (struct piece) { rest.at + length, rest.size - length };
    }
    return r;
}

/* ---- the manifest -------------------------------------------------------------------------- */

static const struct algorithm {
    const char *name;
    unsigned bit, size;
} algorithms[] = {
    { "SHA1", QCA_DIGEST_SHA1, 20 },
    { "SHA256", QCA_DIGEST_SHA256, 32 },
    { "SHA512", QCA_DIGEST_SHA512, 64 },
};

/* A line of the manifest. */
struct sum {
    const struct algorithm *algorithm;
    struct piece name;
    uint8_t digest[64];
};

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* False for a line that is none. */
static bool sum_get(struct piece line, struct sum *ret_sum)
{
    const char *open = memchr(line.at, '(', line.size), *equals = memrchr(line.at, '=', line.size);
    struct piece word, name, hex;

    if (!open || !equals || equals < open)
        return false;
    word = piece_trim((struct piece) { line.at, (size_t)(open - line.at) });
    name = piece_trim((struct piece) { open + 1, (size_t)(equals - open - 1) });
    hex = piece_trim((struct piece) { equals + 1, line.size - (size_t)(equals + 1 - line.at) });
    if (name.size < 2 || name.at[name.size - 1] != ')')
        return false;
    ret_sum->name = (struct piece) { name.at, name.size - 1 };
    ret_sum->algorithm = NULL;
    for (size_t i = 0; i < ELEMENTSOF(algorithms); i++)
        if (word.size == strlen(algorithms[i].name) &&
            strncasecmp(word.at, algorithms[i].name, word.size) == 0)
            ret_sum->algorithm = &algorithms[i];
    if (!ret_sum->algorithm || hex.size != 2 * (size_t)ret_sum->algorithm->size)
        return false;
    for (size_t i = 0; i < hex.size; i++) {
        int digit = hex_digit(hex.at[i]);

        if (digit < 0)
            return false;
        ret_sum->digest[i / 2] = (uint8_t)(ret_sum->digest[i / 2] << 4 | digit);
    }
    return true;
}

/* Progress of a digest, as that of the check. */
struct hashing {
    struct check *check;
    uint64_t done;
};

static void on_hashed(void *userdata, uint64_t done, uint64_t total)
{
    struct hashing *hashing = userdata;

    (void)total;
    (void)check_advance(hashing->check, done - hashing->done);
    hashing->done = done;
}

/* 1: it is the member's; 0: it is not; -EOPNOTSUPP: there is nothing here that makes digests. */
static int digest_compare(const struct ova *ova, const struct ova_member *member,
                          const struct sum *sum)
{
    const struct qca_check_options *options = &ova->check->options;
    struct hashing hashing = { .check = ova->check };
    const struct qca_digest_options digest_options = {
        .cancel = options->cancel, .progress = on_hashed, .userdata = &hashing,
    };
    struct qca_file_digest digest;
    struct qca_error error;
    _cleanup_io_ struct qca_io *part = NULL;
    int r = io_new_part(ova->image->io, member->offset, member->size, &part);

    if (r < 0)
        return r;
    r = options->file_digest(part, sum->algorithm->bit, &digest_options, &error, &digest);
    if (r < 0)
        return r;
    return memcmp(sum->digest,
                  sum->algorithm->bit == QCA_DIGEST_SHA1     ? digest.sha1
                  : sum->algorithm->bit == QCA_DIGEST_SHA256 ? digest.sha256
                                                             : digest.sha512,
                  sum->algorithm->size) == 0;
}

/* *left: bytes that may still be read for digests. An honest manifest names each file once. */
static int sum_check(struct ova *ova, const struct ova_member *manifest, size_t at,
                     const struct sum *sum, uint64_t *left)
{
    const struct ova_member *member = member_find(ova, sum->name);
    struct qca_issue issue = check_issue_new(QCA_ISSUE_MEMBER_DIGEST_WRONG, QCA_TABLE_DESCRIPTOR);
    int r;

    if (!member)
        return missing(ova, manifest, at);
    if (!ova->check->options.deep || !ova->check->options.file_digest || !member->whole ||
        member->size > *left)
        return 0;
    *left -= member->size;
    r = digest_compare(ova, member, sum);
    if (r != 0)
        return r > 0 || r == -EOPNOTSUPP ? 0 : r;
    issue.table_offset = manifest->offset;
    issue.index = at;
    issue.host_offset = member->offset;
    issue.host_length = member->size;
    return check_issue(ova->check, &issue);
}

static int manifest_check(struct ova *ova, const struct ova_member *member)
{
    uint64_t left = ova->image->info.file_size;
    _cleanup_free_ char *text = NULL;
    int r = text_read(ova, member, &text);
    struct piece rest = { text, member->size };

    while (r == 0 && text && rest.size > 0) {
        const char *newline = memchr(rest.at, '\n', rest.size);
        size_t length = newline ? (size_t)(newline - rest.at) : rest.size;
        struct sum sum;

        if (sum_get((struct piece) { rest.at, length }, &sum) && ova->names++ < OVA_NAMES_MAX)
            r = sum_check(ova, member, (size_t)(rest.at - text), &sum, &left);
        length += newline != NULL;
        rest = (struct piece) { rest.at + length, rest.size - length };
    }
    return r;
}

int ova_check_names(struct ova *ova)
{
    int r;

    if (ova->n == 0 || !all_have_names(ova))
        return 0;
    r = descriptor_check(ova, &ova->members[0]);
    for (size_t i = ova->n; r == 0 && i > 1; i--)
        if (has_ending(&ova->members[i - 1], ".mf"))
            return manifest_check(ova, &ova->members[i - 1]);
    return r;
}
