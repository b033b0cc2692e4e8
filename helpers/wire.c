/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The protocol between the daemon and its helpers: packing, sending, and receiving with
 * distrust. */
#include "helpers/wire.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "helpers/text.h"
#include "lib/cleanup.h"

enum wire_fd { FD_NEVER, FD_ALWAYS, FD_UNLESS_ERROR };

struct wire_rule {
    unsigned senders;           /* enum wire_sender */
    size_t size;                /* of the struct */
    bool text[2];               /* may be there */
    enum wire_fd fd;
};

static const struct wire_rule wire_rules[_WIRE_TYPE_MAX] = {
    [WIRE_READY] = {WIRE_WORKER | WIRE_FILES, sizeof(struct wire_empty), {false, false}, FD_NEVER},
    [WIRE_FAILED] = {WIRE_WORKER | WIRE_FILES, sizeof(struct wire_failed), {true, false}, FD_NEVER},
    [WIRE_CONFIGURE_WORKER] = {WIRE_WORKER_CLIENT, sizeof(struct wire_configure_worker),
                               {false, false}, FD_NEVER},
    [WIRE_REQUEST] = {WIRE_WORKER_CLIENT, sizeof(struct wire_request), {true, false}, FD_ALWAYS},
    [WIRE_ANSWER] = {WIRE_WORKER_CLIENT, sizeof(struct wire_answer), {false, false},
                     FD_UNLESS_ERROR},
    [WIRE_CANCEL] = {WIRE_WORKER_CLIENT, sizeof(struct wire_empty), {false, false}, FD_NEVER},
    [WIRE_PROGRESS] = {WIRE_WORKER, sizeof(struct wire_progress), {false, false}, FD_NEVER},
    [WIRE_QUESTION] = {WIRE_WORKER, sizeof(struct wire_question), {true, true}, FD_NEVER},
    [WIRE_LAYER] = {WIRE_WORKER, sizeof(struct wire_layer), {true, true}, FD_NEVER},
    [WIRE_LAYER_MORE] = {WIRE_WORKER, sizeof(struct wire_layer_more), {true, true}, FD_NEVER},
    [WIRE_SNAPSHOT] = {WIRE_WORKER, sizeof(struct wire_snapshot), {true, true}, FD_NEVER},
    [WIRE_BITMAP] = {WIRE_WORKER, sizeof(struct wire_bitmap), {true, false}, FD_NEVER},
    [WIRE_EXTENSIONS] = {WIRE_WORKER, sizeof(struct wire_extensions), {false, false}, FD_NEVER},
    [WIRE_EXTENT] = {WIRE_WORKER, sizeof(struct wire_extent), {true, false}, FD_NEVER},
    [WIRE_CHECK] = {WIRE_WORKER, sizeof(struct wire_check), {false, false}, FD_NEVER},
    [WIRE_ISSUES] = {WIRE_WORKER, sizeof(struct wire_issues), {false, false}, FD_NEVER},
    [WIRE_DONE] = {WIRE_WORKER, sizeof(struct wire_done), {false, false}, FD_NEVER},
    [WIRE_CONFIGURE_FILES] = {WIRE_FILES_CLIENT, sizeof(struct wire_configure_files), {true, false},
                              FD_NEVER},
    [WIRE_ALLOWED_ROOT] = {WIRE_FILES_CLIENT, sizeof(struct wire_empty), {true, false}, FD_NEVER},
    [WIRE_FILES_REQUEST] = {WIRE_FILES_CLIENT, sizeof(struct wire_files_request), {true, true},
                            FD_NEVER},
    [WIRE_FILES_REPLY] = {WIRE_FILES, sizeof(struct wire_files_reply), {true, false},
                          FD_UNLESS_ERROR},
    [WIRE_FILES_ROOT] = {WIRE_FILES, sizeof(struct wire_files_root), {true, false}, FD_NEVER},
    [WIRE_FILES_RECORD] = {WIRE_FILES, sizeof(struct wire_files_record), {true, true}, FD_NEVER},
    [WIRE_FILES_WALKING] = {WIRE_FILES, sizeof(struct wire_empty), {false, false}, FD_NEVER},
    [WIRE_FILES_WALKED] = {WIRE_FILES, sizeof(struct wire_files_walked), {false, false}, FD_NEVER},
    [WIRE_LAUNCH_ROOT] = {WIRE_LAUNCHER_CLIENT, sizeof(struct wire_empty), {true, false}, FD_NEVER},
    [WIRE_LAUNCH] = {WIRE_LAUNCHER_CLIENT, sizeof(struct wire_launch), {false, false}, FD_ALWAYS},
    [WIRE_LAUNCHED] = {WIRE_LAUNCHER, sizeof(struct wire_launched), {false, false},
                       FD_UNLESS_ERROR},
    [WIRE_FILE_DIGEST] = {WIRE_WORKER, sizeof(struct wire_file_digest), {false, false}, FD_NEVER},
    [WIRE_BLOCKS] = {WIRE_WORKER, sizeof(struct wire_blocks), {false, false}, FD_NEVER},
    [WIRE_PACE] = {WIRE_WORKER_CLIENT, sizeof(struct wire_pace), {false, false}, FD_NEVER},
    [WIRE_PLACES] = {WIRE_WORKER, sizeof(struct wire_places), {false, false}, FD_NEVER},
    [WIRE_CONTENT_DIGEST] = {WIRE_WORKER, sizeof(struct wire_content_digest), {false, false},
                             FD_NEVER},
};

/* Two texts behind the longest struct that has texts must fit, and so must each struct. */
_Static_assert(sizeof(struct wire_layer) + 2 * PATH_MAX <= WIRE_RECORD_MAX,
               "WIRE_RECORD_MAX is too small");
_Static_assert(sizeof(struct wire_files_record) + 2 * PATH_MAX <= WIRE_RECORD_MAX,
               "WIRE_RECORD_MAX is too small");
_Static_assert(sizeof(union wire_record) == WIRE_RECORD_MAX, "WIRE_RECORD_MAX is too small");

size_t wire_pack(enum wire_type type, void *record, const char *text0, const char *text1,
                 union wire_record *ret_packet)
{
    const char *text[2] = {text0, text1};
    size_t size = wire_rules[type].size;

    memcpy(ret_packet->bytes, record, size);
    ret_packet->header.version = WIRE_VERSION;
    ret_packet->header.type = type;
    for (unsigned i = 0; i < 2; i++) {
        size_t length;

        if (!text[i]) {
            ret_packet->header.text_length[i] = WIRE_NO_TEXT;
            continue;
        }
        length = strnlen(text[i], WIRE_TEXT_MAX);
        ret_packet->header.text_length[i] = (uint16_t)length;
        memcpy(ret_packet->bytes + size, text[i], length);
        size += length;
        ret_packet->bytes[size++] = '\0';
    }
    return size;
}

int wire_send_packet(int socket, const union wire_record *packet, size_t size, int fd)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)packet, .iov_len = size};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t sent;

    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
    }
    do
        sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return errno == ECONNRESET ? -EPIPE : -errno;
    return 0;
}

int wire_send(int socket, enum wire_type type, void *record, const char *text0, const char *text1,
              int fd)
{
    union wire_record packet;
    size_t size = wire_pack(type, record, text0, text1, &packet);

    return wire_send_packet(socket, &packet, size, fd);
}

/* Keeps the one fd of a message, closes any other. -EBADMSG when there is more than one, or
 * anything else. */
static int take_fd(struct msghdr *message, int *ret_fd)
{
    _cleanup_close_ int fd = -1;
    bool bad = message->msg_flags & MSG_CTRUNC;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        size_t n;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            bad = true;
            continue;
        }
        n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int received;

            memcpy(&received, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (fd < 0)
                fd = received;
            else {
                close(received);
                bad = true;
            }
        }
    }
    if (bad)
        return -EBADMSG;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* Bytes of the record at the begin of size bytes, when it keeps to its rule; else 0. Texts are at
 * its end, each with its NUL and no other. */
static size_t record_size(const union wire_record *record, size_t size, enum wire_sender sender)
{
    const struct wire_rule *rule;
    size_t offset;

    if (size < sizeof(struct wire_header) || record->header.version != WIRE_VERSION)
        return 0;
    if (record->header.type == 0 || record->header.type >= _WIRE_TYPE_MAX)
        return 0;
    rule = &wire_rules[record->header.type];
    if (!(rule->senders & sender) || size < rule->size)
        return 0;
    offset = rule->size;
    for (unsigned i = 0; i < 2; i++) {
        size_t length = record->header.text_length[i];

        if (length == WIRE_NO_TEXT)
            continue;
        if (!rule->text[i] || length > WIRE_TEXT_MAX || offset + length + 1 > size)
            return 0;
        if (strnlen(record->bytes + offset, length + 1) != length)
            return 0;
        offset += length + 1;
    }
    return offset;
}

/* The offset of the record that follows the one that ends at end. */
static size_t next_offset(size_t end)
{
    return (end + WIRE_ALIGNMENT - 1) / WIRE_ALIGNMENT * WIRE_ALIGNMENT;
}

static const union wire_record *record_at(const union wire_record *packet, size_t offset)
{
    return (const union wire_record *)(const void *)(packet->bytes + offset);
}

static bool packet_is_valid(const union wire_record *packet, size_t size, enum wire_sender sender,
                            bool several)
{
    size_t first = record_size(packet, size, sender), length = first;

    if (first == 0 || !several || packet->header.type != WIRE_FILES_RECORD)
        return first > 0 && first == size;
    for (size_t offset = 0; length > 0 && offset + length < size;) {
        offset = next_offset(offset + length);
        if (offset >= size)
            return false;
        length = record_size(record_at(packet, offset), size - offset, sender);
        if (length == 0 || record_at(packet, offset)->header.type != WIRE_FILES_RECORD)
            return false;
    }
    return true;
}

bool wire_append(union wire_record *packet, size_t *size, const union wire_record *record,
                 size_t length)
{
    size_t offset = next_offset(*size);

    if (offset + length > sizeof(*packet))
        return false;
    memset(packet->bytes + *size, 0, offset - *size);
    memcpy(packet->bytes + offset, record, length);
    *size = offset + length;
    return true;
}

const union wire_record *wire_next(const union wire_record *packet, size_t size,
                                   const union wire_record *record)
{
    size_t offset = (size_t)(record->bytes - packet->bytes);

    offset = next_offset(offset + record_size(record, size - offset, UINT_MAX));
    return offset < size ? record_at(packet, offset) : NULL;
}

static bool fd_is_expected(const union wire_record *record, int fd)
{
    int64_t error = 0;

    switch (wire_rules[record->header.type].fd) {
    case FD_NEVER:
        return fd < 0;
    case FD_ALWAYS:
        return fd >= 0;
    case FD_UNLESS_ERROR:
        break;
    }
    if (record->header.type == WIRE_ANSWER)
        error = record->answer.error;
    else if (record->header.type == WIRE_LAUNCHED)
        error = record->launched.error;
    else
        return true;            /* a reply of qcaudit-files: the request says whether a file
                                 * comes with it */
    return (fd >= 0) == (error == 0);
}

static int receive(int socket, enum wire_sender sender, bool several, union wire_record *ret_record,
                   size_t *ret_size, int *ret_fd)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = ret_record, .iov_len = sizeof(*ret_record)};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    _cleanup_close_ int fd = -1;
    ssize_t size;
    int r;

    do
        size = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        return errno == ECONNRESET ? 0 : -errno;
    r = take_fd(&message, &fd);
    if (r < 0)
        return r;
    if (size == 0 && fd < 0)
        return 0;
    if ((message.msg_flags & MSG_TRUNC) ||
        !packet_is_valid(ret_record, (size_t)size, sender, several) ||
        !fd_is_expected(ret_record, fd))
        return -EBADMSG;
    *ret_size = (size_t)size;
    *ret_fd = TAKE_FD(fd);
    return 1;
}

int wire_receive(int socket, enum wire_sender sender, union wire_record *ret_record, int *ret_fd)
{
    size_t size;

    return receive(socket, sender, false, ret_record, &size, ret_fd);
}

int wire_receive_several(int socket, enum wire_sender sender, union wire_record *ret_packet,
                         size_t *ret_size, int *ret_fd)
{
    return receive(socket, sender, true, ret_packet, ret_size, ret_fd);
}

const char *wire_text(const union wire_record *record, unsigned index)
{
    size_t offset = wire_rules[record->header.type].size;

    if (record->header.text_length[index] == WIRE_NO_TEXT)
        return NULL;
    if (index == 1 && record->header.text_length[0] != WIRE_NO_TEXT)
        offset += record->header.text_length[0] + (size_t)1;
    return record->bytes + offset;
}

bool wire_error_is_valid(int64_t error)
{
    return error <= 0 && error >= -4095;
}

static bool field_is_valid(const char *text, size_t room)
{
    size_t n = strnlen(text, room);

    return n < room && text_is_safe(text, n);
}

bool wire_qca_error_is_valid(const struct qca_error *error)
{
    return error->kind < _QCA_ERROR_MAX && field_is_valid(error->field, sizeof(error->field)) &&
           field_is_valid(error->text, sizeof(error->text));
}
