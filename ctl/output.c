/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Output to the terminal: the pager, colours, wrapped text, JSON. */
#include "ctl/output.h"

#include <errno.h>
#include <langinfo.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wchar.h>

#include "helpers/json-text.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

/* ---- the terminal ------------------------------------------------------------------------- */

static unsigned terminal_width(void)
{
    const char *columns = getenv("COLUMNS");
    struct winsize size;

    if (columns && *columns) {
        char *end;
        unsigned long n = strtoul(columns, &end, 10);

        if (*end == '\0' && n >= 20 && n <= 10000)
            return (unsigned)n;
    }
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) >= 0 && size.ws_col >= 20)
        return size.ws_col;
    return 80;
}

static bool environment_colours(bool terminal)
{
    const char *systemd = getenv("SYSTEMD_COLORS"), *none = getenv("NO_COLOR"),
               *term = getenv("TERM");

    if (none && *none)
        return false;
    if (systemd && *systemd)
        return strcmp(systemd, "0") != 0 && strcmp(systemd, "no") != 0 &&
               strcmp(systemd, "false") != 0;
    return terminal && term && strcmp(term, "dumb") != 0;
}

void output_init(struct output *output)
{
    output->terminal = isatty(STDOUT_FILENO);
    output->colour = environment_colours(output->terminal);
    output->utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    output->width = output->terminal ? terminal_width() : 0;
}

/* ---- the pager ---------------------------------------------------------------------------- */

/* Never returns. The words of command are split at blanks, as nothing here runs a shell. */
static void __attribute__((noreturn)) run_pager(const char *command)
{
    char *words[16] = { NULL }, *copy = strdup(command), *rest = NULL;
    size_t n = 0;

    for (char *word = copy ? strtok_r(copy, " \t", &rest) : NULL; word && n < ELEMENTSOF(words) - 1;
         word = strtok_r(NULL, " \t", &rest))
        words[n++] = word;
    if (n > 0)
        (void)execvp(words[0], words);
    (void)execlp("less", "less", (char *)NULL);
    (void)execlp("more", "more", (char *)NULL);
    (void)execlp("cat", "cat", (char *)NULL);
    _exit(EXIT_FAILURE);
}

static void pager_start(struct output *output, const char *options)
{
    const char *command = getenv("SYSTEMD_PAGER"), *term = getenv("TERM"),
               *less = getenv("SYSTEMD_LESS");
    int fds[2];

    if (!command)
        command = getenv("PAGER");
    if (!output->pager || !output->terminal || output->pager_pid > 0 || !term ||
        strcmp(term, "dumb") == 0)
        return;
    if (command && (*command == '\0' || strcmp(command, "cat") == 0))
        return;
    if (pipe(fds) < 0)
        return;
    (void)fflush(stdout);
    output->pager_pid = fork();
    if (output->pager_pid == 0) {
        (void)dup2(fds[0], STDIN_FILENO);
        (void)close(fds[0]);
        (void)close(fds[1]);
        (void)setenv("LESS", less ? less : options, 1);
        if (output->utf8)
            (void)setenv("LESSCHARSET", "utf-8", 0);
        /* No shells and editors out of a pager that sudo started. */
        if (!getenv("SYSTEMD_PAGERSECURE"))
            (void)setenv("LESSSECURE", "1", 1);
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        run_pager(command ? command : "less");
    }
    (void)close(fds[0]);
    if (output->pager_pid < 0)
        output->pager_pid = 0;
    else
        (void)dup2(fds[1], STDOUT_FILENO);
    (void)close(fds[1]);
}

void output_begin(struct output *output)
{
    pager_start(output, "FRSXMK");
}

void output_begin_prose(struct output *output)
{
    pager_start(output, "FRXMK");
}

int output_end(struct output *output)
{
    bool bad = fflush(stdout) != 0 || ferror(stdout);
    int error = bad ? errno : 0;

    if (output->pager_pid > 0) {
        error = freopen("/dev/null", "w", stdout) ? 0 : errno;
        while (waitpid(output->pager_pid, NULL, 0) < 0 && errno == EINTR)
            ;
        output->pager_pid = 0;  /* that it was left early is no error */
    }
    return -error;
}

/* ---- colours ------------------------------------------------------------------------------ */

const char *output_colour(const struct output *output, enum colour colour)
{
    static const char *const sequences[_COLOUR_MAX] = {
        [COLOUR_OFF] = "\033[0m", [COLOUR_RED] = "\033[31m", [COLOUR_BRIGHT_RED] = "\033[1;31m",
        [COLOUR_YELLOW] = "\033[33m", [COLOUR_GREEN] = "\033[32m", [COLOUR_DIM] = "\033[2m",
        [COLOUR_BOLD] = "\033[1m",
    };

    return output->colour ? sequences[colour] : "";
}

enum colour severity_colour(const char *severity)
{
    if (!severity)
        return COLOUR_OFF;
    if (strcmp(severity, "critical") == 0)
        return COLOUR_BRIGHT_RED;
    if (strcmp(severity, "error") == 0)
        return COLOUR_RED;
    return strcmp(severity, "warning") == 0 ? COLOUR_YELLOW : COLOUR_OFF;
}

int severity_status(const char *severity)
{
    static const char *const worse[] = { "warning", "error", "critical" };

    for (size_t i = 0; severity && i < ELEMENTSOF(worse); i++)
        if (strcmp(severity, worse[i]) == 0)
            return (int)i + 1;
    return 0;
}

const char *output_arrow(const struct output *output)
{
    return output->utf8 ? "→" : "->";
}

/* ---- text --------------------------------------------------------------------------------- */

/* Bytes of the character at text and its columns; a byte that is no character has one column. */
static size_t next_character(const char *text, unsigned *ret_columns)
{
    wchar_t character;
    mbstate_t state = { 0 };
    size_t n = mbrtowc(&character, text, MB_CUR_MAX, &state);
    int columns;

    if (n == 0 || n == (size_t)-1 || n == (size_t)-2) {
        *ret_columns = 1;
        return 1;
    }
    columns = wcwidth(character);
    *ret_columns = columns < 0 ? 1 : (unsigned)columns;
    return n;
}

unsigned text_columns(const char *text)
{
    unsigned total = 0, columns;

    while (*text) {
        text += next_character(text, &columns);
        total += columns;
    }
    return total;
}

/* The longest beginning of text that has at most so many columns, in bytes. */
static size_t beginning(const char *text, unsigned limit)
{
    size_t bytes = 0;
    unsigned total = 0, columns;

    while (text[bytes]) {
        size_t n = next_character(text + bytes, &columns);

        if (total + columns > limit)
            break;
        total += columns;
        bytes += n;
    }
    return bytes;
}

char *text_shorten(const struct output *output, const char *text, unsigned columns)
{
    const char *dots = output->utf8 ? "…" : "..";
    unsigned n_dots = output->utf8 ? 1 : 2, all = text_columns(text), head, skip;
    const char *tail = text;
    char *result;

    if (all <= columns)
        return strdup(text);
    if (columns <= n_dots)
        return strndup(text, beginning(text, columns));
    /* The end says more than the beginning: it holds the file's name. */
    head = (columns - n_dots) / 3;
    for (skip = all - (columns - n_dots - head); skip > 0;) {
        unsigned width;

        tail += next_character(tail, &width);
        skip -= width < skip ? width : skip;
    }
    if (asprintf(&result, "%.*s%s%s", (int)beginning(text, head), text, dots, tail) < 0)
        return NULL;
    return result;
}

char *text_cut(const struct output *output, const char *text, unsigned columns)
{
    const char *dots = output->utf8 ? "…" : "..";
    unsigned n_dots = output->utf8 ? 1 : 2;
    char *result;

    if (text_columns(text) <= columns)
        return strdup(text);
    if (columns <= n_dots)
        return strndup(text, beginning(text, columns));
    return asprintf(&result, "%.*s%s", (int)beginning(text, columns - n_dots), text, dots) < 0
               ? NULL
               : result;
}

static void indent_by(unsigned indent)
{
    (void)printf("%*s", (int)indent, "");
}

/* One word; returns the column behind it. column 0: the line is empty. */
static unsigned put_word(const char *word, unsigned indent, unsigned width, unsigned column)
{
    unsigned columns = text_columns(word);

    if (column > indent && column + 1 + columns > width) {
        (void)putchar('\n');
        column = 0;
    }
    if (column < indent) {
        indent_by(indent - column);
        column = indent;
    } else if (column > indent) {
        (void)putchar(' ');
        column++;
    }
    (void)fputs(word, stdout);
    return column + columns;
}

void output_wrapped(const struct output *output, unsigned indent, unsigned taken, const char *text)
{
    unsigned width = output->width ? output->width : 80, column = taken;

    if (width > 100)
        width = 100;
    while (*text) {
        size_t n = strcspn(text, " \n");
        _cleanup_free_ char *word = strndup(text, n);

        if (n > 0 && word)
            column = put_word(word, indent, width, column);
        text += n;
        if (text[0] == '\n' && text[1] == '\n') {
            (void)fputs("\n\n", stdout);
            column = 0;
            text += 2;
        } else if (*text)
            text++;
    }
    (void)putchar('\n');
}

void output_label(const struct output *output, unsigned width, const char *label)
{
    unsigned columns = text_columns(label);

    indent_by(columns < width ? width - columns : 0);
    (void)printf("%s: ", label);
}

void output_heading(const struct output *output, const char *text)
{
    (void)printf("\n%s%s%s\n", output_colour(output, COLOUR_BOLD), text,
                 output_colour(output, COLOUR_OFF));
}

/* ---- JSON --------------------------------------------------------------------------------- */

static int printable(json_object *value, json_object **ret_value);

static int printable_bytes(const char *bytes, size_t size, json_object **ret_value)
{
    _cleanup_(json_object_putp) json_object *array = json_object_new_array();

    for (size_t i = 0; array && i < size; i++)
        if (json_object_array_add(array, json_object_new_int((unsigned char)bytes[i])) < 0)
            return -ENOMEM;
    if (!array)
        return -ENOMEM;
    *ret_value = TAKE_PTR(array);
    return 0;
}

static int printable_array(json_object *value, json_object **ret_value)
{
    _cleanup_(json_object_putp) json_object *array = json_object_new_array();

    for (size_t i = 0; array && i < json_object_array_length(value); i++) {
        json_object *item = NULL;
        int r = printable(json_object_array_get_idx(value, i), &item);

        if (r < 0)
            return r;
        if (json_object_array_add(array, item) < 0) {
            json_object_put(item);
            return -ENOMEM;
        }
    }
    if (!array)
        return -ENOMEM;
    *ret_value = TAKE_PTR(array);
    return 0;
}

static int printable_object(json_object *value, json_object **ret_value)
{
    _cleanup_(json_object_putp) json_object *object = json_object_new_object();

    if (!object)
        return -ENOMEM;
    json_object_object_foreach(value, key, member) {
        json_object *item = NULL;
        int r = printable(member, &item);

        if (r < 0)
            return r;
        if (json_object_object_add(object, key, item) < 0) {    /* null, too */
            json_object_put(item);
            return -ENOMEM;
        }
    }
    *ret_value = TAKE_PTR(object);
    return 0;
}

/* A copy that is valid JSON when printed. */
static int printable(json_object *value, json_object **ret_value)
{
    switch (json_object_get_type(value)) {
    case json_type_string: {
        const char *text = json_object_get_string(value);
        size_t size = (size_t)json_object_get_string_len(value);

        if (!text_is_utf8(text, size))
            return printable_bytes(text, size, ret_value);
        break;
    }
    case json_type_array:
        return printable_array(value, ret_value);
    case json_type_object:
        return printable_object(value, ret_value);
    default:
        break;
    }
    *ret_value = json_object_get(value);
    return 0;
}

/* Is it valid JSON when printed, as nearly all is? */
static bool is_printable(json_object *value)
{
    switch (json_object_get_type(value)) {
    case json_type_string:
        return text_is_utf8(json_object_get_string(value),
                            (size_t)json_object_get_string_len(value));
    case json_type_array:
        for (size_t i = 0; i < json_object_array_length(value); i++)
            if (!is_printable(json_object_array_get_idx(value, i)))
                return false;
        return true;
    case json_type_object: {
        json_object_object_foreach(value, key, member) {
            (void)key;
            if (!is_printable(member))
                return false;
        }
        return true;
    }
    default:
        return true;
    }
}

/* json-c leaves DEL and the like alone: a terminal must not get them. Only characters within
 * strings can be above ASCII, so each may be written as \uXXXX. */
static void put_safe(FILE *file, const char *text)
{
    for (size_t n; *text; text += n) {
        const unsigned char *s = (const unsigned char *)text;
        uint32_t c;

        /* what nearly all of it is goes out in one piece */
        for (n = 0; s[n] != '\0' && s[n] < 0x7f; n++)
            ;
        if (n > 0) {
            (void)fwrite(text, 1, n, file);
            continue;
        }
        n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
        if (s[0] != 0x7f && (n == 1 || text_is_safe(text, n))) {
            (void)fwrite(text, 1, n, file);
            continue;
        }
        c = n == 1 ? s[0] : n == 2 ? s[0] & 0x1f : n == 3 ? s[0] & 0x0f : s[0] & 0x07;
        for (size_t i = 1; i < n; i++)
            c = c << 6 | (s[i] & 0x3f);
        if (c >= 0x10000)
            (void)fprintf(file, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
                          0xdc00 + ((c - 0x10000) & 0x3ff));
        else
            (void)fprintf(file, "\\u%04x", c);
    }
}

static int put_json(FILE *file, enum json_mode mode, json_object *value)
{
    int flags = JSON_C_TO_STRING_NOSLASHESCAPE;
    json_object *copy = NULL;
    const char *text;
    int r = is_printable(value) ? 0 : printable(value, &copy);

    if (r < 0)
        return r;
    if (!copy)
        copy = json_object_get(value);
    if (mode == JSON_PRETTY)
        flags |= JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED;
    text = json_object_to_json_string_ext(copy, flags);
    if (text) {
        put_safe(file, text);
        (void)fputc('\n', file);
    }
    json_object_put(copy);
    return text ? 0 : -ENOMEM;
}

int output_json(const struct output *output, json_object *value)
{
    int r = 0;

    if (output->json != JSON_LINES || !json_object_is_type(value, json_type_array))
        return put_json(stdout, output->json, value);
    for (size_t i = 0; r >= 0 && i < json_object_array_length(value); i++)
        r = put_json(stdout, output->json, json_object_array_get_idx(value, i));
    return r;
}

const char *output_tool(const struct output *output)
{
    return output->tool ? output->tool : "qcauditctl";
}

bool output_is_list(const struct output *output)
{
    return output->csv || output->columns || output->sort;
}

int output_json_text(json_object *value, char **ret_text, size_t *ret_size)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    int r = file ? put_json(file, JSON_PRETTY, value) : -ENOMEM;

    if (file && fclose(file) != 0 && r >= 0)
        r = -ENOMEM;
    if (r < 0) {
        free(text);
        return r;
    }
    *ret_text = text;
    *ret_size = size;
    return 0;
}

/* ---- members of rows ---------------------------------------------------------------------- */

json_object *row_member(json_object *row, const char *key)
{
    json_object *value;

    return json_object_object_get_ex(row, key, &value) ? value : NULL;
}

bool row_has(json_object *row, const char *key)
{
    return row_member(row, key) != NULL;
}

const char *row_raw(json_object *row, const char *key)
{
    json_object *value = row_member(row, key);

    return value ? json_object_get_string(value) : NULL;
}

char *row_text(json_object *row, const char *key)
{
    json_object *value = row_member(row, key);
    char *text;

    if (!value)
        return strdup("-");
    if (!json_object_is_type(value, json_type_string))
        return text_escape_string(json_object_get_string(value));
    if (text_escape(json_object_get_string(value), (size_t)json_object_get_string_len(value),
                    &text) < 0)
        return NULL;
    return text;
}

char *row_prose(json_object *row, const char *key)
{
    json_object *value = row_member(row, key);

    return json_object_is_type(value, json_type_string) ? json_prose_text(value)
                                                        : row_text(row, key);
}

uint64_t row_number(json_object *row, const char *key)
{
    json_object *value = row_member(row, key);

    return value ? json_object_get_uint64(value) : 0;
}

bool row_bool(json_object *row, const char *key)
{
    json_object *value = row_member(row, key);

    return value && json_object_get_boolean(value);
}
