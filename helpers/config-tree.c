/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A YAML file as a tree of nodes with their places, and the list of mistakes found in it. Bounded
 * in size and depth. */
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <yaml.h>

#include "helpers/config-tree.h"
#include "helpers/text.h"

void mistakes_done(struct mistakes *mistakes)
{
    for (size_t i = 0; i < mistakes->n_items; i++)
        free(mistakes->items[i].message);
    free(mistakes->items);
    *mistakes = (struct mistakes){ 0 };
}

void mistakes_add(struct mistakes *mistakes, unsigned file, unsigned line, unsigned column,
                  const char *format, ...)
{
    struct mistake mistake = { file, line, column, (unsigned)mistakes->n_items, NULL };
    va_list arguments;

    if (mistakes->n_items >= CONFIG_MISTAKES_MAX) {
        mistakes->n_more++;
        return;
    }
    va_start(arguments, format);
    int r = vasprintf(&mistake.message, format, arguments);
    va_end(arguments);
    struct mistake *items = r < 0 ? NULL
                                  : reallocarray(mistakes->items, mistakes->n_items + 1,
                                                 sizeof(*mistakes->items));
    if (!items) {
        mistakes->no_memory = true;
        if (r >= 0)
            free(mistake.message);
        return;
    }
    mistakes->items = items;
    mistakes->items[mistakes->n_items++] = mistake;
}

static int mistake_compare(const void *left, const void *right)
{
    const struct mistake *a = left, *b = right;

    if (a->file != b->file)
        return a->file < b->file ? -1 : 1;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    if (a->column != b->column)
        return a->column < b->column ? -1 : 1;
    return a->sequence < b->sequence ? -1 : 1;
}

void mistakes_sort(struct mistakes *mistakes)
{
    if (mistakes->n_items > 1)
        qsort(mistakes->items, mistakes->n_items, sizeof(*mistakes->items), mistake_compare);
}

struct config_node *config_node_free(struct config_node *node)
{
    if (!node)
        return NULL;
    for (size_t i = 0; i < node->n_items; i++)
        config_node_free(node->items[i]);
    free(node->items);
    free(node->text);
    free(node);
    return NULL;
}

bool config_node_is_empty(const struct config_node *node)
{
    return node->kind == CONFIG_NODE_SCALAR && node->plain &&
           (node->text[0] == 0 || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0);
}

const char *config_node_text(const struct config_node *node)
{
    if (config_node_is_empty(node))
        return "nothing";
    switch (node->kind) {
    case CONFIG_NODE_LIST:
        return "a list";
    case CONFIG_NODE_MAPPING:
        return "a mapping";
    default:
        return "text";
    }
}

char *config_node_quote(const struct config_node *node)
{
    _cleanup_free_ char *escaped = text_escape_string(node->text);
    char *quoted;

    if (!escaped ||
        asprintf(&quoted, "\"%.60s%s\"", escaped, strlen(escaped) > 60 ? "..." : "") < 0)
        return NULL;
    return quoted;
}

struct reader {
    yaml_parser_t parser;
    const char *bytes;
    size_t n;
    unsigned file;
    struct mistakes *mistakes;
    size_t n_nodes;
};

static void reader_mistake(struct reader *reader, const yaml_mark_t *mark, const char *text)
{
    mistakes_add(reader->mistakes, reader->file, (unsigned)mark->line + 1,
                 (unsigned)mark->column + 1, "%s", text);
}

/* The byte at a mark; its index counts characters. */
static char byte_at(const struct reader *reader, const yaml_mark_t *mark)
{
    size_t at = 0;

    for (size_t i = 0; i < mark->index && at < reader->n; i++)
        do
            at++;
        while (at < reader->n && ((unsigned char)reader->bytes[at] & 0xc0) == 0x80);
    return at < reader->n ? reader->bytes[at] : 0;
}

/* -ENOMEM, or -EBADMSG after the mistake was noted. */
static int next_event(struct reader *reader, yaml_event_t *event)
{
    yaml_parser_t *parser = &reader->parser;

    if (yaml_parser_parse(parser, event))
        return 0;
    if (parser->error == YAML_MEMORY_ERROR)
        return -ENOMEM;
    const yaml_mark_t *mark = &parser->problem_mark;
    const char *problem = parser->problem ? parser->problem : "not YAML";
    if (byte_at(reader, mark) == '\t')
        reader_mistake(reader, mark, "a tab where YAML takes none: indent with spaces");
    else if (parser->context && parser->context_mark.line != mark->line)
        mistakes_add(reader->mistakes, reader->file, (unsigned)mark->line + 1,
                     (unsigned)mark->column + 1,
                     "%s (%s that begins on line %zu)",
                     problem, parser->context, parser->context_mark.line + 1);
    else if (parser->context)
        mistakes_add(reader->mistakes, reader->file, (unsigned)mark->line + 1,
                     (unsigned)mark->column + 1, "%s (%s)", problem, parser->context);
    else
        reader_mistake(reader, mark, problem);
    return -EBADMSG;
}

static int node_append(struct config_node *node, struct config_node *item)
{
    /* Grows by powers of two: the capacity follows from the number. */
    if ((node->n_items & (node->n_items - 1)) == 0) {
        struct config_node **items =
            reallocarray(node->items, node->n_items ? node->n_items * 2 : 1, sizeof(*items));
        if (!items)
            return -ENOMEM;
        node->items = items;
    }
    node->items[node->n_items++] = item;
    return 0;
}

static int read_node(struct reader *reader, const yaml_event_t *event, unsigned depth,
                     struct config_node **ret);

/* Reads a list or mapping up to its end; *node keeps what was read before a mistake. */
static int read_items(struct reader *reader, yaml_event_type_t end, unsigned depth,
                      struct config_node *node)
{
    for (;;) {
        struct config_node *item = NULL;
        yaml_event_t event;

        int r = next_event(reader, &event);
        if (r >= 0 && event.type == end) {
            yaml_event_delete(&event);
            return 0;
        }
        if (r >= 0) {
            r = read_node(reader, &event, depth + 1, &item);
            yaml_event_delete(&event);
        }
        if (item) {
            int appended = node_append(node, item);
            if (appended < 0) {
                config_node_free(item);
                return appended;
            }
        }
        if (r < 0) {
            node->cut = true;
            return r;
        }
    }
}

/* *ret may be set together with -EBADMSG: what could be read. */
static int read_node(struct reader *reader, const yaml_event_t *event, unsigned depth,
                     struct config_node **ret)
{
    _cleanup_(config_node_freep) struct config_node *node = NULL;
    const yaml_char_t *anchor = NULL, *tag = NULL;
    yaml_event_type_t end = YAML_NO_EVENT;
    int r = 0;

    if (depth > CONFIG_DEPTH_MAX) {
        reader_mistake(reader, &event->start_mark, "nested too deeply");
        return -EBADMSG;
    }
    if (++reader->n_nodes > CONFIG_NODES_MAX) {
        reader_mistake(reader, &event->start_mark, "too many values in one file");
        return -EBADMSG;
    }
    node = calloc(1, sizeof(*node));
    if (!node)
        return -ENOMEM;
    node->file = reader->file;
    node->line = (unsigned)event->start_mark.line + 1;
    node->column = (unsigned)event->start_mark.column + 1;
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        node->kind = CONFIG_NODE_SCALAR;
        node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        node->text = strndup((const char *)event->data.scalar.value, event->data.scalar.length);
        if (!node->text)
            return -ENOMEM;
        if (strlen(node->text) != event->data.scalar.length)
            reader_mistake(reader, &event->start_mark, "a NUL in a text");
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        node->kind = CONFIG_NODE_LIST;
        end = YAML_SEQUENCE_END_EVENT;
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        node->kind = CONFIG_NODE_MAPPING;
        end = YAML_MAPPING_END_EVENT;
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        break;
    default:
        /* An alias stands where its node could be: an empty text keeps keys and values in pairs. */
        reader_mistake(reader, &event->start_mark,
                       "aliases (*name) are not taken here; quote a text that begins with *");
        node->kind = CONFIG_NODE_SCALAR;
        node->cut = true;
        node->text = strdup("");
        if (!node->text)
            return -ENOMEM;
    }
    if (anchor)
        reader_mistake(reader, &event->start_mark, "anchors (&name) are not taken here");
    if (tag)
        reader_mistake(reader, &event->start_mark, "tags (!name) are not taken here");
    if (end != YAML_NO_EVENT)
        r = read_items(reader, end, depth, node);
    if (r == -ENOMEM)
        return r;
    *ret = TAKE_PTR(node);
    return r;
}

static int read_stream(struct reader *reader, struct config_node **ret_root)
{
    _cleanup_(config_node_freep) struct config_node *root = NULL;
    unsigned documents = 0;

    for (bool ended = false; !ended;) {
        yaml_event_t event;

        int r = next_event(reader, &event);
        if (r == -EBADMSG)
            break;
        if (r < 0)
            return r;
        switch (event.type) {
        case YAML_STREAM_END_EVENT:
            ended = true;
            break;
        case YAML_DOCUMENT_START_EVENT:
            if (documents++ > 0) {
                reader_mistake(reader, &event.start_mark, "a second document in one file");
                ended = true;
            }
            break;
        case YAML_STREAM_START_EVENT:
        case YAML_DOCUMENT_END_EVENT:
            break;
        default:
            r = read_node(reader, &event, 1, &root);
            ended = r < 0;
        }
        yaml_event_delete(&event);
        if (r == -ENOMEM)
            return r;
    }
    *ret_root = TAKE_PTR(root);
    return 0;
}

/* Length of the character at bytes if it is valid UTF-8 and allowed in YAML, else 0. */
static size_t character_length(const unsigned char *bytes, size_t n)
{
    static const struct {
        unsigned char mask, lead;
        uint32_t least;
    } forms[] = {
        { 0x80, 0, 0 }, { 0xe0, 0xc0, 0x80 }, { 0xf0, 0xe0, 0x800 }, { 0xf8, 0xf0, 0x10000 }
    };

    for (size_t length = 1; length <= 4; length++) {
        if ((bytes[0] & forms[length - 1].mask) != forms[length - 1].lead)
            continue;
        if (length > n)
            return 0;
        uint32_t c = bytes[0] & (unsigned char)~forms[length - 1].mask;
        for (size_t i = 1; i < length; i++) {
            if ((bytes[i] & 0xc0) != 0x80)
                return 0;
            c = c << 6 | (bytes[i] & 0x3f);
        }
        bool control = (c < 0x20 && c != '\t' && c != '\n' && c != '\r') ||
                       (c >= 0x7f && c < 0xa0 && c != 0x85);
        bool surrogate = c >= 0xd800 && c < 0xe000;
        if (c < forms[length - 1].least || c > 0x10ffff || control || surrogate || c == 0xfffe ||
            c == 0xffff)
            return 0;
        return length;
    }
    return 0;
}

/* Notes every byte that has no place in a text file, once per line; true when there is none. */
static bool check_characters(const char *bytes, size_t n, unsigned file, struct mistakes *mistakes)
{
    unsigned line = 1, column = 1, noted = 0;
    bool good = true;

    for (size_t i = 0; i < n;) {
        size_t length = character_length((const unsigned char *)bytes + i, n - i);

        if (length == 0) {
            unsigned char byte = (unsigned char)bytes[i];

            good = false;
            if (noted != line)
                mistakes_add(mistakes, file, line, column,
                             byte < 0x80 ? "a control character (byte 0x%02x)"
                                         : "not valid UTF-8 (byte 0x%02x)",
                             byte);
            noted = line;
        }
        /* YAML ends a line at LF, CR, CR LF, NEL, LS and PS: count as libyaml does. */
        bool ends = length > 0 && (bytes[i] == '\n' ||
                                   (bytes[i] == '\r' && !(i + 1 < n && bytes[i + 1] == '\n')) ||
                                   (length == 2 && memcmp(bytes + i, "\302\205", 2) == 0) ||
                                   (length == 3 && (memcmp(bytes + i, "\342\200\250", 3) == 0 ||
                                                    memcmp(bytes + i, "\342\200\251", 3) == 0)));
        line += ends;
        column = ends ? 1 : column + 1;
        i += length ? length : 1;
    }
    return good;
}

int config_tree_read(const char *bytes, size_t n, unsigned file, struct mistakes *mistakes,
                     struct config_node **ret_root)
{
    struct reader reader = { .bytes = bytes, .n = n, .file = file, .mistakes = mistakes };
    struct config_node *root = NULL;

    if (n > CONFIG_FILE_MAX) {
        mistakes_add(mistakes, file, 0, 0, "larger than 1 MiB");
        *ret_root = NULL;
        return 0;
    }
    if (!check_characters(bytes, n, file, mistakes)) {
        *ret_root = NULL;
        return mistakes->no_memory ? -ENOMEM : 0;
    }
    if (!yaml_parser_initialize(&reader.parser))
        return -ENOMEM;
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)bytes, n);
    int r = read_stream(&reader, &root);
    yaml_parser_delete(&reader.parser);
    if (r < 0)
        return r;
    *ret_root = root;
    return 0;
}
