/* The C driver of the tests across languages: reads commands, calls duramen.h, prints results. The contract is
 * tests/README.md. `tests/drivers/c/build OUT` builds it.
 *
 * A broken driver ends with exit status 1 and a message; an error of the log is a printed result. */
#include <duramen.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- small things */

static void broken(const char *what, const char *detail) {
    fprintf(stderr, "driver: %s: %s\n", what, detail);
    exit(1);
}

static void *grown(void *memory, size_t bytes) {
    memory = realloc(memory, bytes ? bytes : 1);
    if (memory == NULL) {
        broken("out of memory", "");
    }
    return memory;
}

/* Prints a line and flushes it. */
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
static void print_line(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    if (fflush(stdout) != 0) {
        broken("standard output", "cannot be written");
    }
}

static void print_error(duramen_status status) {
    print_line("error %s", duramen_status_name(status));
}

/* `ok`, or the error. */
static void print_outcome(duramen_status status) {
    if (status == DURAMEN_OK) {
        print_line("ok");
    } else {
        print_error(status);
    }
}

/* -- words and quoted bytes */

static uint64_t number(const char *word) {
    char *end;
    uint64_t value = strtoull(word, &end, 10);
    if (*word < '0' || *word > '9' || *end != '\0') {
        broken("not a number", word);
    }
    return value;
}

/* A number, or nothing for `none`. */
static uint8_t optional(const char *word, uint64_t *value) {
    if (strcmp(word, "none") == 0) {
        *value = 0;
        return 0;
    }
    *value = number(word);
    return 1;
}

/* Cuts the next word off the line; a quoted one keeps its quotes. NULL at the end. */
static char *next_word(char **line) {
    char *word = *line, *at = word;
    int quoted = 0;
    if (word == NULL) {
        return NULL;
    }
    for (; *at != '\0' && (*at != ' ' || quoted); at++) {
        if (*at == '\\' && at[1] != '\0') {
            at++;
        } else if (*at == '"') {
            quoted = !quoted;
        }
    }
    *line = *at == ' ' ? at + 1 : NULL;
    *at = '\0';
    return word;
}

static char *need_word(char **line) {
    char *word = next_word(line);
    if (word == NULL) {
        broken("a word is missing", "");
    }
    return word;
}

/* Turns a quoted word into its bytes, in place. */
static size_t unquote(char *word) {
    size_t len = 0, end = strlen(word);
    if (end < 2 || word[0] != '"' || word[end - 1] != '"') {
        broken("not quoted", word);
    }
    for (size_t at = 1; at < end - 1; at++) {
        if (word[at] == '\\' && word[at + 1] == 'x') {
            char digits[3] = {word[at + 2], word[at + 3], '\0'};
            word[len++] = (char)strtoul(digits, NULL, 16);
            at += 3;
        } else {
            at += word[at] == '\\';
            word[len++] = word[at];
        }
    }
    return len;
}

static void print_entry(const duramen_entry *entry) {
    const unsigned char *data = (const unsigned char *)entry->data;
    printf("%" PRIu64 "@%" PRIu64 " \"", entry->index, entry->term);
    for (size_t at = 0; at < entry->len; at++) {
        if (data[at] == '\\' || data[at] == '"') {
            printf("\\%c", data[at]);
        } else if (data[at] < 0x20 || data[at] > 0x7e) {
            printf("\\x%02x", data[at]);
        } else {
            putchar(data[at]);
        }
    }
    print_line("\"");
}

/* -- commands */

/* What the commands so far have opened. */
static duramen_store *the_store;
static duramen_log *the_log;

static duramen_status select_group(uint64_t group) {
    duramen_log *log;
    if (the_store == NULL) {
        return DURAMEN_CLOSED;
    }
    duramen_status status = duramen_store_log(the_store, group, &log, NULL);
    if (status == DURAMEN_OK) {
        duramen_log_free(the_log);
        the_log = log;
    }
    return status;
}

static duramen_status open_store(const char *directory) {
    duramen_store *store;
    duramen_status status = duramen_store_open(directory, NULL, &store, NULL);
    if (status != DURAMEN_OK) {
        return status;
    }
    duramen_log_free(the_log);
    duramen_store_free(the_store);
    the_log = NULL;
    the_store = store;
    return select_group(0);
}

static duramen_status open_in_test_directory(const char *name) {
    const char *base = getenv("DURAMEN_TEST_DIR");
    base = base == NULL ? "." : base;
    size_t room = strlen(base) + strlen(name) + 2;
    char *path = (char *)grown(NULL, room);
    snprintf(path, room, "%s/%s", base, name);
    duramen_status status = open_store(path);
    free(path);
    return status;
}

/* INDEX@TERM "DATA" INDEX@TERM "DATA" ... */
static duramen_status append(char *rest, duramen_durability durability) {
    duramen_entry *entries = NULL;
    size_t count = 0;
    char *id;
    while ((id = next_word(&rest)) != NULL) {
        char *term = strchr(id, '@'), *data = need_word(&rest);
        if (term == NULL) {
            broken("not INDEX@TERM", id);
        }
        *term++ = '\0';
        entries = (duramen_entry *)grown(entries, (count + 1) * sizeof(*entries));
        duramen_entry entry = {.index = number(id), .term = number(term), .data = data};
        entry.len = unquote(data);
        entries[count++] = entry;
    }
    duramen_status status = the_log == NULL ? DURAMEN_CLOSED
                                            : duramen_append(the_log, entries, count, durability, NULL, NULL);
    free(entries);
    return status;
}

static duramen_status print_entries(uint64_t from, uint64_t to) {
    duramen_entries *entries;
    duramen_status status = duramen_read(the_log, from, to, UINT64_MAX, &entries, NULL);
    if (status != DURAMEN_OK) {
        return status;
    }
    for (size_t at = 0; at < duramen_entries_len(entries); at++) {
        print_entry(&duramen_entries_data(entries)[at]);
    }
    duramen_entries_free(entries);
    return status;
}

/* Prints the bounds, and returns them; both 0 where there are none. */
static duramen_status print_bounds(uint64_t *first, uint64_t *next) {
    bool present;
    duramen_status status = duramen_bounds(the_log, &present, first, next, NULL);
    if (status == DURAMEN_OK && present) {
        print_line("bounds %" PRIu64 "..%" PRIu64, *first, *next);
    } else if (status == DURAMEN_OK) {
        print_line("bounds none");
    }
    return status;
}

static duramen_status set_hard_state(char *rest) {
    duramen_hard_state state;
    state.term = number(need_word(&rest));
    state.has_vote = optional(need_word(&rest), &state.vote);
    state.has_commit = optional(need_word(&rest), &state.commit);
    return duramen_set_hard_state(the_log, &state, DURAMEN_DURABLE, NULL, NULL);
}

static void print_optional(const char *name, uint8_t present, uint64_t value) {
    if (present) {
        printf(" %s=%" PRIu64, name, value);
    } else {
        printf(" %s=none", name);
    }
}

static duramen_status print_hard_state(void) {
    duramen_hard_state state;
    bool present;
    duramen_status status = duramen_get_hard_state(the_log, &present, &state, NULL);
    if (status == DURAMEN_OK && present) {
        printf("hard_state term=%" PRIu64, state.term);
        print_optional("vote", state.has_vote, state.vote);
        print_optional("commit", state.has_commit, state.commit);
        print_line("%s", "");
    } else if (status == DURAMEN_OK) {
        print_line("hard_state none");
    }
    return status;
}

/* Prints what a command that is not answered by `ok` has to say. */
static void print_failure(duramen_status status) {
    if (status != DURAMEN_OK) {
        print_error(status);
    }
}

static void run(char *line) {
    char *rest = line;
    const char *command = need_word(&rest);
    uint64_t first, next;
    if (strcmp(command, "open") == 0) {
        print_outcome(open_in_test_directory(need_word(&rest)));
    } else if (strcmp(command, "append") == 0) {
        print_outcome(append(rest, DURAMEN_DURABLE));
    } else if (strcmp(command, "append_buffered") == 0) {
        print_outcome(append(rest, DURAMEN_BUFFERED));
    } else if (the_log == NULL) {
        print_error(DURAMEN_CLOSED);
    } else if (strcmp(command, "log") == 0) {
        print_outcome(select_group(number(need_word(&rest))));
    } else if (strcmp(command, "read") == 0) {
        uint64_t from = number(need_word(&rest));
        print_failure(print_entries(from, number(need_word(&rest))));
    } else if (strcmp(command, "bounds") == 0) {
        print_failure(print_bounds(&first, &next));
    } else if (strcmp(command, "set_hard_state") == 0) {
        print_outcome(set_hard_state(rest));
    } else if (strcmp(command, "hard_state") == 0) {
        print_failure(print_hard_state());
    } else if (strcmp(command, "sync") == 0) {
        print_outcome(duramen_sync(the_log, NULL, NULL));
    } else if (strcmp(command, "close") == 0) {
        print_outcome(duramen_store_close(the_store, NULL));
    } else {
        broken("not a command", command);
    }
}

static void script(void) {
    char *line = NULL;
    size_t len = 0, room = 0;
    int byte;
    while ((byte = getchar()) != EOF) {
        if (len + 1 >= room) {
            room = 2 * room + 256;
            line = (char *)grown(line, room);
        }
        if (byte != '\n') {
            line[len++] = (char)byte;
            continue;
        }
        line[len] = '\0';
        if (len > 0 && line[0] != '#') {
            run(line);
        }
        len = 0;
    }
    free(line);
}

/* -- write and dump */

static void must(duramen_status status, const duramen_error *error, const char *what) {
    if (status != DURAMEN_OK) {
        broken(what, error->message);
    }
}

static void write_until_killed(const char *directory, uint64_t from) {
    duramen_error error;
    unsigned char data[300];
    if (open_store(directory) != DURAMEN_OK) {
        broken("the store does not open", directory);
    }
    for (uint64_t index = from;; index++) {
        duramen_entry entry = {.index = index, .term = 1 + index / 100, .data = data};
        entry.len = (size_t)(1 + 7919 * index % 300);
        for (size_t at = 0; at < entry.len; at++) {
            data[at] = (unsigned char)((31 * index + 7 * at) % 256);
        }
        print_line("try %" PRIu64, index);
        must(duramen_append(the_log, &entry, 1, DURAMEN_DURABLE, NULL, &error), &error, "append");
        print_line("ack %" PRIu64, index);
        if (index % 10 == 0) {
            duramen_hard_state state = {.term = entry.term, .vote = index, .commit = index - 1, .has_vote = 1, .has_commit = 1};
            print_line("try_state %" PRIu64, index);
            must(duramen_set_hard_state(the_log, &state, DURAMEN_DURABLE, NULL, &error), &error, "set_hard_state");
            print_line("ack_state %" PRIu64, index);
        }
    }
}

static duramen_status dump(const char *directory) {
    uint64_t first, next;
    duramen_status status = open_store(directory);
    if (status == DURAMEN_OK) {
        status = print_bounds(&first, &next);
    }
    if (status == DURAMEN_OK) {
        status = print_entries(first, next);
    }
    if (status == DURAMEN_OK) {
        status = print_hard_state();
    }
    return status == DURAMEN_OK ? duramen_store_close(the_store, NULL) : status;
}

int main(int count, char **words) {
    if (duramen_abi_version() != DURAMEN_ABI_VERSION) {
        broken("the library is another version than the header", duramen_version());
    }
    if (count == 2 && strcmp(words[1], "script") == 0) {
        script();
    } else if (count == 4 && strcmp(words[1], "write") == 0) {
        write_until_killed(words[2], number(words[3]));
    } else if (count == 3 && strcmp(words[1], "dump") == 0) {
        print_failure(dump(words[2]));
    } else {
        fprintf(stderr, "usage: driver script | driver write DIR FROM | driver dump DIR\n");
        return 2;
    }
    duramen_log_free(the_log);
    duramen_store_free(the_store);
    return 0;
}
