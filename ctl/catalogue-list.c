/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A list of known content: its signature is looked at first, and of a clear-signed list what is
 * signed is read, and nothing else. */
#include "ctl/catalogue-list.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "helpers/text.h"

void catalogue_list_done(struct catalogue_list *list)
{
    free(list->shown);
    free(list->text);
    signature_result_done(&list->signature);
    catalogue_done(&list->catalogue);
    *list = (struct catalogue_list){ .size = 0 };
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
static int read_list(const char *path, struct catalogue_list *list)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    int r;

    if (fd < 0 || fstat(fd, &st) < 0)
        return complain(-errno, "Cannot open %s", list->shown);
    if (!S_ISREG(st.st_mode))
        return complain(0, "%s is no regular file.", list->shown), -EMEDIUMTYPE;
    if ((uint64_t)st.st_size > CATALOGUE_TEXT_MAX)
        return complain(0, "%s is refused: the list is larger than 64 MiB.", list->shown),
               -EFBIG;
    r = read_all(fd, (size_t)st.st_size, &list->text, &list->size);
    return r < 0 ? complain(r, "Cannot read %s", list->shown) : 0;
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

static int ask_signature(const struct ctl *ctl, struct signature_ask *ask,
                         struct catalogue_list *list)
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
    r = signature_memory(list->text, list->size, &data);
    if (r >= 0) {
        ask->data = data;
        ask->signature = signature;
        ask->keys = keys;
        ask->certificates = certificates;
        r = signature_verify(ask, &list->signature);
    }
    return r < 0 ? complain(r, "Cannot look at the signature of %s", list->shown) : 0;
}

/* 0 when it is signed as it should be, or need not be. */
static int check_signature(const struct ctl *ctl, struct catalogue_list *list)
{
    struct signature_ask ask = { .data = -1 };
    int r = find_method(ctl, &ask);

    if (r <= 0)
        return r;
    r = ask_signature(ctl, &ask, list);
    if (r < 0)
        return r;
    list->is_signed = list->signature.problem == SIGNATURE_GOOD;
    if (list->is_signed)
        return 0;
    return complain(0, "%s is refused: its signature is not good (%s): %s.", list->shown,
                    signature_problem_name(list->signature.problem), list->signature.reason),
           -EPERM;
}

/* ---- the list -------------------------------------------------------------------------------- */

/* Of a clear-signed list, what is signed, and nothing else. */
static int read_catalogue(struct catalogue_list *list)
{
    bool inner = list->signature.text != NULL;
    struct catalogue_problem problem;
    int r = catalogue_read(inner ? list->signature.text : list->text,
                           inner ? list->signature.size : list->size, NULL,
                           list->is_signed ? CATALOGUE_SIGNED : CATALOGUE_PINNED,
                           &list->catalogue, &problem);

    if (r == -EBADMSG && problem.line > 0)
        return complain(0, "%s:%zu%s: refused: %s.", list->shown, problem.line,
                        inner ? " of what is signed" : "", problem.reason), r;
    if (r == -EBADMSG)
        return complain(0, "%s is refused: %s.", list->shown, problem.reason), r;
    if (r < 0)
        return complain(r, "Cannot read %s", list->shown);
    for (size_t i = 0; i < list->catalogue.n; i++)
        list->n_weak += list->catalogue.records[i].weak;
    if (list->is_signed && list->n_weak == list->catalogue.n)
        return complain(0, "%s is refused: all its digests are MD5 or SHA-1, so that the signature "
                        "says nothing (weak): without it, they are a claim.", list->shown),
               -EPERM;
    return 0;
}

int catalogue_list_read(const struct ctl *ctl, const char *path, struct catalogue_list *ret_list)
{
    _cleanup_(catalogue_list_donep) struct catalogue_list *list =
        &(struct catalogue_list){ .shown = text_escape_string(path) };
    int r = list->shown ? 0 : complain(-ENOMEM, "Cannot read the list");

    if (r >= 0)
        r = read_list(path, list);
    if (r >= 0)
        r = check_signature(ctl, list);
    if (r >= 0)
        r = read_catalogue(list);
    if (r < 0)
        return r;
    *ret_list = *list;
    *list = (struct catalogue_list){ .size = 0 };
    return 0;
}
