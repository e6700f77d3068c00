/* Everything that a caller can get wrong and the library can notice: NULL where it is not allowed, wrong values, calls
 * after closing. Nothing is changed by it, and the message names what was wrong. */
#include "check.h"

#define NULL_IS(name, call) FAILS(DURAMEN_INVALID_ARGUMENT, name " is NULL", call)
#define WRONG(words, call) FAILS(DURAMEN_INVALID_ARGUMENT, words, call)

static bool present;
static uint64_t a, b;
static size_t count, len;
static duramen_entries *entries;
static duramen_hard_state state;
static duramen_entry_ref refs[2];
static char data[16];

static void nulls(const char *directory, const duramen_store *store, const duramen_log *log) {
    duramen_store *other;
    duramen_log *other_log;
    duramen_entry entry = entry_of(1, 1, "x");

    NULL_IS("directory", duramen_store_open(NULL, NULL, &other, &error));
    NULL_IS("store", duramen_store_open(directory, NULL, NULL, &error));
    NULL_IS("store", duramen_store_log(NULL, 0, &other_log, &error));
    NULL_IS("log", duramen_store_log(store, 0, NULL, &error));
    NULL_IS("store", duramen_store_close(NULL, &error));

    NULL_IS("options", duramen_options_set_create(NULL, true, &error));
    NULL_IS("options", duramen_options_set_exclusive(NULL, true, &error));
    NULL_IS("options", duramen_options_set_segment_bytes(NULL, 1 << 20, &error));
    NULL_IS("options", duramen_options_set_entry_bytes_max(NULL, 1 << 20, &error));
    NULL_IS("options", duramen_options_set_batch_bytes_max(NULL, 1 << 20, &error));
    NULL_IS("options", duramen_options_set_groups_max(NULL, 1, &error));

    NULL_IS("log", duramen_append(NULL, &entry, 1, DURAMEN_DURABLE, NULL, &error));
    NULL_IS("entries", duramen_append(log, NULL, 1, DURAMEN_DURABLE, NULL, &error));
    NULL_IS("log", duramen_append_refs(NULL, refs, 1, data, 1, DURAMEN_DURABLE, NULL, &error));
    NULL_IS("refs", duramen_append_refs(log, NULL, 1, data, 1, DURAMEN_DURABLE, NULL, &error));
    NULL_IS("data", duramen_append_refs(log, refs, 1, NULL, 1, DURAMEN_DURABLE, NULL, &error));
    entry.data = NULL;
    NULL_IS("the data of entries[0]", duramen_append(log, &entry, 1, DURAMEN_DURABLE, NULL, &error));

    NULL_IS("log", duramen_read(NULL, 0, 1, 0, &entries, &error));
    NULL_IS("entries", duramen_read(log, 0, 1, 0, NULL, &error));
    NULL_IS("log", duramen_get(NULL, 1, &entries, &error));
    NULL_IS("entries", duramen_get(log, 1, NULL, &error));
    NULL_IS("log", duramen_read_into(NULL, 0, 1, refs, 2, data, 16, &count, &len, &a, &error));
    NULL_IS("refs", duramen_read_into(log, 0, 1, NULL, 2, data, 16, &count, &len, &a, &error));
    NULL_IS("data", duramen_read_into(log, 0, 1, refs, 2, NULL, 16, &count, &len, &a, &error));
    NULL_IS("count", duramen_read_into(log, 0, 1, refs, 2, data, 16, NULL, &len, &a, &error));
    NULL_IS("data_len", duramen_read_into(log, 0, 1, refs, 2, data, 16, &count, NULL, &a, &error));
    NULL_IS("next", duramen_read_into(log, 0, 1, refs, 2, data, 16, &count, &len, NULL, &error));

    NULL_IS("log", duramen_bounds(NULL, &present, &a, &b, &error));
    NULL_IS("present", duramen_bounds(log, NULL, &a, &b, &error));
    NULL_IS("first", duramen_bounds(log, &present, NULL, &b, &error));
    NULL_IS("next", duramen_bounds(log, &present, &a, NULL, &error));
    NULL_IS("log", duramen_last(NULL, &present, &a, &b, &error));
    NULL_IS("present", duramen_last(log, NULL, &a, &b, &error));
    NULL_IS("index", duramen_last(log, &present, NULL, &b, &error));
    NULL_IS("term", duramen_last(log, &present, &a, NULL, &error));
    NULL_IS("log", duramen_term(NULL, 1, &a, &error));
    NULL_IS("term", duramen_term(log, 1, NULL, &error));
    NULL_IS("log", duramen_count(NULL, &a, &error));
    NULL_IS("count", duramen_count(log, NULL, &error));

    NULL_IS("log", duramen_set_hard_state(NULL, &state, DURAMEN_DURABLE, NULL, &error));
    NULL_IS("state", duramen_set_hard_state(log, NULL, DURAMEN_DURABLE, NULL, &error));
    NULL_IS("log", duramen_get_hard_state(NULL, &present, &state, &error));
    NULL_IS("present", duramen_get_hard_state(log, NULL, &state, &error));
    NULL_IS("state", duramen_get_hard_state(log, &present, NULL, &error));

    NULL_IS("log", duramen_sync(NULL, NULL, &error));
    NULL_IS("log", duramen_durable(NULL, &a, &error));
    NULL_IS("position", duramen_durable(log, NULL, &error));
    NULL_IS("log", duramen_wait(NULL, 0, 0, &error));
}

/* Where NULL means nothing, and nothing happens. */
static void nulls_allowed(const duramen_log *log) {
    duramen_options_free(NULL);
    duramen_store_free(NULL);
    duramen_log_free(NULL);
    duramen_entries_free(NULL);
    CHECK(duramen_entries_data(NULL) == NULL);
    CHECK(duramen_entries_len(NULL) == 0);
    CHECK(duramen_entries_next(NULL) == 0);
    CHECK(duramen_append(NULL, NULL, 0, DURAMEN_DURABLE, NULL, NULL) == DURAMEN_INVALID_ARGUMENT);
    OK(duramen_append(log, NULL, 0, DURAMEN_DURABLE, NULL, &error));
    OK(duramen_append_refs(log, NULL, 0, NULL, 0, DURAMEN_BUFFERED, NULL, &error));
    OK(duramen_read_into(log, 5, 5, NULL, 0, NULL, 0, &count, &len, &a, &error));
    CHECK(count == 0 && len == 0 && a == 5);
}

static void wrong_values(const char *directory, const duramen_log *log) {
    duramen_entry pair[2] = {entry_of(1, 1, "x"), entry_of(2, 1, "y")};
    duramen_store *other;

    WRONG("durability is 2, it must be DURAMEN_DURABLE (0) or DURAMEN_BUFFERED (1)",
          duramen_append(log, pair, 1, 2, NULL, &error));
    WRONG("durability is -1", duramen_set_hard_state(log, &state, -1, NULL, &error));
    WRONG("entries cannot have", duramen_append(log, pair, SIZE_MAX, DURAMEN_DURABLE, NULL, &error));
    WRONG("entries cannot have", duramen_append(log, pair, SIZE_MAX / 40 - 1, DURAMEN_DURABLE, NULL, &error));
    WRONG("not a multiple of 8",
          duramen_append(log, (const duramen_entry *)((uintptr_t)pair + 1), 1, DURAMEN_DURABLE, NULL, &error));
    pair[1].len = SIZE_MAX;
    WRONG("the data of entries[1] cannot have", duramen_append(log, pair, 2, DURAMEN_DURABLE, NULL, &error));
    pair[1] = entry_of(3, 1, "z");
    FAILS(DURAMEN_NOT_CONTIGUOUS, "expected index 2, got 3", duramen_append(log, pair, 2, DURAMEN_DURABLE, NULL, &error));
    pair[0].index = UINT64_MAX;
    WRONG("2^64-1", duramen_append(log, pair, 1, DURAMEN_DURABLE, NULL, &error));

    duramen_entry_ref outside = {.index = 1, .term = 1, .offset = 10, .len = 7};
    WRONG("refs[0] has 7 bytes at 10, which leaves data, whose length is 16",
          duramen_append_refs(log, &outside, 1, data, 16, DURAMEN_DURABLE, NULL, &error));
    outside.offset = SIZE_MAX;
    WRONG("refs[0]", duramen_append_refs(log, &outside, 1, data, 16, DURAMEN_DURABLE, NULL, &error));

    WRONG("refs_capacity is 0", duramen_read_into(log, 0, 1, NULL, 0, data, 16, &count, &len, &a, &error));
    WRONG("2^64-1", duramen_get(log, UINT64_MAX, &entries, &error));
    WRONG("position 99 was never issued", duramen_wait(log, 99, 0, &error));

    duramen_options *options = duramen_options_new();
    OK(duramen_options_set_segment_bytes(options, 1, &error));
    WRONG("segment_bytes is 1", duramen_store_open(directory, options, &other, &error));
    OK(duramen_options_set_segment_bytes(options, 1 << 20, &error));
    FAILS(DURAMEN_OPTIONS_CONFLICT, "segment_bytes", duramen_store_open(directory, options, &other, &error));
    OK(duramen_options_set_segment_bytes(options, 64 << 20, &error));
    OK(duramen_options_set_groups_max(options, UINT64_MAX, &error));
    WRONG("groups_max", duramen_store_open(directory, options, &other, &error));
    OK(duramen_options_set_groups_max(options, 1 << 20, &error));
    OK(duramen_options_set_exclusive(options, true, &error));
    FAILS(DURAMEN_LOCKED, "locked", duramen_store_open(directory, options, &other, &error));
    OK(duramen_options_set_exclusive(options, false, &error));
    OK(duramen_options_set_create(options, false, &error));
    FAILS(DURAMEN_NOT_A_STORE, "not a store", duramen_store_open("/dev/null/nothing", options, &other, &error));
    duramen_options_free(options);
}

/* Nothing of all that left a trace. */
static void unchanged(const duramen_log *log) {
    OK(duramen_bounds(log, &present, &a, &b, &error));
    CHECK(!present && a == 0 && b == 0);
    OK(duramen_get_hard_state(log, &present, &state, &error));
    CHECK(!present && state.term == 0 && !state.has_vote);
}

static void after_close(duramen_store *store, duramen_log *log) {
    duramen_log *other;
    duramen_entry entry = entry_of(1, 1, "x");
    OK(duramen_store_close(store, &error));

#define CLOSED(call) FAILS(DURAMEN_CLOSED, "closed", call)
    CLOSED(duramen_store_close(store, &error));
    CLOSED(duramen_store_log(store, 0, &other, &error));
    CLOSED(duramen_append(log, &entry, 1, DURAMEN_DURABLE, NULL, &error));
    CLOSED(duramen_append(log, NULL, 0, DURAMEN_DURABLE, NULL, &error));
    CLOSED(duramen_append_refs(log, refs, 1, data, 0, DURAMEN_DURABLE, NULL, &error));
    CLOSED(duramen_read(log, 1, 2, 0, &entries, &error));
    CLOSED(duramen_read(log, 1, 1, 0, &entries, &error));
    CLOSED(duramen_get(log, 1, &entries, &error));
    CLOSED(duramen_read_into(log, 1, 2, refs, 2, data, 16, &count, &len, &a, &error));
    CLOSED(duramen_bounds(log, &present, &a, &b, &error));
    CLOSED(duramen_last(log, &present, &a, &b, &error));
    CLOSED(duramen_term(log, 1, &a, &error));
    CLOSED(duramen_count(log, &a, &error));
    CLOSED(duramen_set_hard_state(log, &state, DURAMEN_DURABLE, NULL, &error));
    CLOSED(duramen_get_hard_state(log, &present, &state, &error));
    CLOSED(duramen_sync(log, NULL, &error));
    CLOSED(duramen_durable(log, &a, &error));
    CLOSED(duramen_wait(log, 0, 0, &error));
    CHECK(duramen_sync(log, NULL, NULL) == DURAMEN_CLOSED); /* and without an error */
}

int main(int words, char **word) {
    (void)words;
    duramen_store *store = opened(word[1]);
    duramen_log *log = log_of(store, 0);
    nulls(word[1], store, log);
    nulls_allowed(log);
    wrong_values(word[1], log);
    unchanged(log);
    after_close(store, log);
    duramen_log_free(log);
    duramen_store_free(store);
    return 0;
}
