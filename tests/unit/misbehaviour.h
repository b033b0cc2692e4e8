/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What misbehaving-worker can do, and what the client must make of it. */
#pragma once

/* identifier, what it does, the request's flags, the report's error, the signal that ends it (0:
 * any) */
#define MISBEHAVIOURS(X)                                                                           \
    X(OPEN, "opens a file", 0, -ECHILD, SIGSYS)                                                    \
    X(OPEN_THREAD, "opens a file in another thread", 0, -ECHILD, SIGSYS)                           \
    X(THREAD, "starts a thread", 0, -ECHILD, SIGSYS)                                               \
    X(CONNECT, "makes a socket", 0, -ECHILD, SIGSYS)                                               \
    X(EXEC, "executes a program", 0, -ECHILD, SIGSYS)                                              \
    X(FORK, "forks", 0, -ECHILD, SIGSYS)                                                           \
    X(WRITE, "writes to the image", 0, -ECHILD, SIGSYS)                                            \
    X(PEEK, "reads the memory of another process", 0, -ECHILD, SIGSYS)                             \
    X(MAP_CODE, "maps executable memory", 0, -ECHILD, SIGSYS)                                      \
    X(CRASH, "crashes", 0, -ECHILD, SIGSEGV)                                                       \
    X(ABORT, "aborts", 0, -ECHILD, SIGABRT)                                                        \
    X(EXIT, "ends", 0, -ECHILD, 0)                                                                 \
    X(CLOSE, "closes its socket and goes on", 0, -ECHILD, SIGKILL)                                 \
    X(HANG, "says nothing", 0, -ETIMEDOUT, SIGKILL)                                                \
    X(DAWDLE, "says that it works, for ever", 0, -ETIMEDOUT, SIGKILL)                              \
    X(FLOOD, "says that it works, without a pause", 0, -EBADMSG, SIGKILL)                          \
    X(SHORT, "sends half a record", 0, -EBADMSG, SIGKILL)                                          \
    X(LONG, "sends a record that is too long", 0, -EBADMSG, SIGKILL)                               \
    X(UNKNOWN, "sends a record of no known type", 0, -EBADMSG, SIGKILL)                            \
    X(VERSION, "sends a record of another version", 0, -EBADMSG, SIGKILL)                          \
    X(FOREIGN, "sends a record that only clients send", 0, -EBADMSG, SIGKILL)                      \
    X(FD, "sends a file descriptor", 0, -EBADMSG, SIGKILL)                                         \
    X(TWO_FDS, "sends two file descriptors", 0, -EBADMSG, SIGKILL)                                 \
    X(TEXT_LENGTH, "sends a text longer than its record", 0, -EBADMSG, SIGKILL)                    \
    X(TEXT_NUL, "sends a text with a NUL in it", 0, -EBADMSG, SIGKILL)                             \
    X(TEXT_UNASKED, "sends a text where none may be", 0, -EBADMSG, SIGKILL)                        \
    X(DONE_AT_ONCE, "is done without a layer", 0, -EBADMSG, SIGKILL)                               \
    X(DONE_ERROR, "is done with an error that is none", 0, -EBADMSG, SIGKILL)                      \
    X(DONE_ESCAPE, "says why with an escape sequence", 0, -EBADMSG, SIGKILL)                       \
    X(DONE_UNENDED, "says why in a text without an end", 0, -EBADMSG, SIGKILL)                     \
    X(LAYER_INDEX, "begins with the second layer", 0, -EBADMSG, SIGKILL)                           \
    X(LAYER_FORMAT, "tells of an unknown format", 0, -EBADMSG, SIGKILL)                            \
    X(LAYER_CLUSTERS, "tells of impossible clusters", 0, -EBADMSG, SIGKILL)                        \
    X(LAYERS, "tells of layers without an end", 0, -EBADMSG, SIGKILL)                              \
    X(SNAPSHOTS, "announces a billion snapshots", 0, -EBADMSG, SIGKILL)                            \
    X(SNAPSHOT_EXTRA, "sends a snapshot that it did not announce", 0, -EBADMSG, SIGKILL)           \
    X(SNAPSHOT_LACKING, "announces a snapshot and does not send it", 0, -EBADMSG, SIGKILL)         \
    X(ISSUES, "announces a billion issues", 0, -EBADMSG, SIGKILL)                                  \
    X(ISSUE_COUNT, "sends more issues in a record than fit", 0, -EBADMSG, SIGKILL)                 \
    X(ISSUE_KIND, "sends an issue of no known kind", 0, -EBADMSG, SIGKILL)                         \
    X(QUESTION_UNASKED, "asks though no chain was wanted", 0, -EBADMSG, SIGKILL)                   \
    X(QUESTIONS, "asks without an end", WORKER_CHAIN, -EBADMSG, SIGKILL)                           \
    X(QUESTION_AGAIN, "asks for the parent that it has", WORKER_CHAIN, -EBADMSG, SIGKILL)          \
    X(QUESTION_FAR, "asks for the parent of a layer that it has not", WORKER_CHAIN, -EBADMSG,      \
      SIGKILL)                                                                                     \
    X(QUESTION_REFUSED, "asks for another after it was refused", WORKER_CHAIN, -EBADMSG, SIGKILL)  \
    X(QUESTION_UNTOLD, "asks for a parent, and tells of another", WORKER_CHAIN, -EBADMSG, SIGKILL) \
    X(QUESTION_KIND, "asks for what is neither parent nor data file", WORKER_CHAIN, -EBADMSG,      \
      SIGKILL)                                                                                     \
    X(PARENT_UNASKED, "asks for a parent where a data file may be", WORKER_DATA_FILE, -EBADMSG,    \
      SIGKILL)                                                                                     \
    X(DATA_FILE_AGAIN, "asks for a second data file", WORKER_DATA_FILE, -EBADMSG, SIGKILL)         \
    X(DATA_FILE_FAR, "asks for another layer's data file", WORKER_DATA_FILE, -EBADMSG, SIGKILL)    \
    X(DATA_FILE_LATE, "asks for a data file of a layer that it left", WORKER_CHAIN, -EBADMSG,      \
      SIGKILL)                                                                                     \
    X(DATA_FILE_UNTOLD, "asks for a data file, and tells of none", WORKER_DATA_FILE, -EBADMSG,     \
      SIGKILL)                                                                                     \
    X(EXTENT_UNTOLD, "asks for an extent that is none", WORKER_DATA_FILE, -EBADMSG, SIGKILL)       \
    X(LAYER_IDENTITY, "tells of an identity without an end", 0, -EBADMSG, SIGKILL)                 \
    X(QUESTION_TWICE, "asks again before it got the answer", WORKER_CHAIN, -EBADMSG, SIGKILL)      \
    X(PROGRESS_BEYOND, "did more than there is", 0, -EBADMSG, SIGKILL)                             \
    X(AFTER_DONE, "goes on after it was done", 0, 0, 0)

enum misbehaviour {
    MISBEHAVE_NOT,
#define MISBEHAVE_X(id, text, flags, error, signal) MISBEHAVE_##id,
    MISBEHAVIOURS(MISBEHAVE_X)
#undef MISBEHAVE_X
    MISBEHAVE_HOG,              /* not in the table: an honest answer */
};
