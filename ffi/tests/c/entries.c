/* What goes in comes out: through both shapes of entries, at the limits of the caller's memory, and after reopening. */
#include "check.h"

static bool present;
static uint64_t a, b, position;
static size_t count, len;
static duramen_entry_ref refs[4];
static char data[16];

/* Three entries without pointers: "one" of kind 7, nothing, "three!". */
static void append_without_pointers(const duramen_log *log) {
    const duramen_entry_ref three[3] = {
        {.index = 1, .term = 1, .offset = 6, .len = 3, .kind = 7},
        {.index = 2, .term = 1, .offset = 9, .len = 0},
        {.index = 3, .term = 2, .offset = 0, .len = 6},
    };
    OK(duramen_append_refs(log, three, 3, "three!one", 9, DURAMEN_BUFFERED, &position, &error));
    CHECK(position > 0);
    OK(duramen_sync(log, &a, &error));
    CHECK(a >= position);
    OK(duramen_wait(log, position, 0, &error));
    OK(duramen_durable(log, &b, &error));
    CHECK(b == a);
}

static void read_with_pointers(const duramen_log *log) {
    duramen_entries *entries;
    OK(duramen_read(log, 1, 4, UINT64_MAX, &entries, &error));
    const duramen_entry *entry = duramen_entries_data(entries);
    CHECK(duramen_entries_len(entries) == 3 && duramen_entries_next(entries) == 4);
    CHECK(entry[0].index == 1 && entry[0].term == 1 && entry[0].kind == 7);
    CHECK(entry[0].len == 3 && memcmp(entry[0].data, "one", 3) == 0);
    CHECK(entry[1].index == 2 && entry[1].len == 0 && entry[1].kind == 0);
    CHECK(entry[2].term == 2 && entry[2].len == 6 && memcmp(entry[2].data, "three!", 6) == 0);
    duramen_entries_free(entries);

    OK(duramen_read(log, 1, 4, 0, &entries, &error)); /* at least one */
    CHECK(duramen_entries_len(entries) == 1 && duramen_entries_next(entries) == 2);
    duramen_entries_free(entries);
    OK(duramen_read(log, 2, 2, 0, &entries, &error));
    CHECK(duramen_entries_len(entries) == 0 && duramen_entries_data(entries) == NULL && duramen_entries_next(entries) == 2);
    duramen_entries_free(entries);
    OK(duramen_get(log, 3, &entries, &error));
    CHECK(duramen_entries_len(entries) == 1 && duramen_entries_data(entries)->len == 6);
    duramen_entries_free(entries);
    FAILS(DURAMEN_NOT_FOUND, "has no entry 4", duramen_get(log, 4, &entries, &error));
    FAILS(DURAMEN_NOT_FOUND, "has no entry 4", duramen_read(log, 3, 9, UINT64_MAX, &entries, &error));
}

static void read_into_own_memory(const duramen_log *log) {
    OK(duramen_read_into(log, 1, 4, refs, 4, data, 9, &count, &len, &a, &error));
    CHECK(count == 3 && len == 9 && a == 4);
    CHECK(memcmp(data, "onethree!", 9) == 0);
    CHECK(refs[0].index == 1 && refs[0].kind == 7 && refs[0].offset == 0 && refs[0].len == 3);
    CHECK(refs[1].index == 2 && refs[1].offset == 3 && refs[1].len == 0);
    CHECK(refs[2].term == 2 && refs[2].offset == 3 && refs[2].len == 6);

    OK(duramen_read_into(log, 1, 4, refs, 4, data, 8, &count, &len, &a, &error)); /* one byte too few */
    CHECK(count == 2 && len == 3 && a == 3);
    OK(duramen_read_into(log, 1, 4, refs, 1, data, 16, &count, &len, &a, &error)); /* room for one entry */
    CHECK(count == 1 && len == 3 && a == 2);

    memset(data, '-', sizeof(data));
    OK(duramen_read_into(log, 3, 4, refs, 4, data, 5, &count, &len, &a, &error)); /* not even one payload fits */
    CHECK(count == 1 && len == 6 && a == 4 && refs[0].len == 6 && data[0] == '-');
    OK(duramen_read_into(log, 2, 3, refs, 4, NULL, 0, &count, &len, &a, &error)); /* an empty one always does */
    CHECK(count == 1 && len == 0 && a == 3);
    FAILS(DURAMEN_NOT_FOUND, "has no entry 4", duramen_read_into(log, 4, 5, refs, 4, data, 16, &count, &len, &a, &error));
    CHECK(count == 1); /* written on success only */
}

static void known_from_memory(const duramen_log *log) {
    OK(duramen_bounds(log, &present, &a, &b, &error));
    CHECK(present && a == 1 && b == 4);
    OK(duramen_last(log, &present, &a, &b, &error));
    CHECK(present && a == 3 && b == 2);
    OK(duramen_term(log, 2, &a, &error));
    CHECK(a == 1);
    FAILS(DURAMEN_NOT_FOUND, "has no entry 4", duramen_term(log, 4, &a, &error));
    OK(duramen_count(log, &a, &error));
    CHECK(a == 3);
}

static void hard_state(const duramen_log *log) {
    duramen_hard_state state = {.term = 5, .vote = 0, .has_vote = 1, .commit = 99};
    OK(duramen_set_hard_state(log, &state, DURAMEN_DURABLE, &position, &error));
    memset(&state, 0xff, sizeof(state));
    OK(duramen_get_hard_state(log, &present, &state, &error));
    CHECK(present && state.term == 5 && state.has_vote == 1 && state.vote == 0 && state.has_commit == 0 && state.commit == 0);
}

static void other_groups_are_empty(const duramen_store *store) {
    duramen_log *log = log_of(store, UINT64_MAX);
    OK(duramen_last(log, &present, &a, &b, &error));
    CHECK(!present && a == 0 && b == 0);
    OK(duramen_bounds(log, &present, &a, &b, &error));
    CHECK(!present);
    append_text(log, 0, 0, "index 0 is an ordinary one");
    OK(duramen_bounds(log, &present, &a, &b, &error));
    CHECK(present && a == 0 && b == 1);
    duramen_log_free(log);
}

static void too_large(const duramen_log *log) {
    duramen_entry entry = entry_of(4, 2, "");
    entry.len = (64 << 20) + 1;
    void *large = calloc(entry.len, 1);
    entry.data = large;
    FAILS(DURAMEN_TOO_LARGE, "entry_bytes_max", duramen_append(log, &entry, 1, DURAMEN_DURABLE, NULL, &error));
    free(large);
}

int main(int words, char **word) {
    (void)words;
    duramen_store *store = opened(word[1]);
    duramen_log *log = log_of(store, 0);
    append_without_pointers(log);
    hard_state(log);
    for (int opening = 0; opening < 2; opening++) {
        read_with_pointers(log);
        read_into_own_memory(log);
        known_from_memory(log);
        OK(duramen_store_close(store, &error));
        duramen_log_free(log);
        duramen_store_free(store);
        store = opened(word[1]);
        log = log_of(store, 0);
    }
    too_large(log);
    other_groups_are_empty(store);
    duramen_log_free(log);
    duramen_store_free(store);

    CHECK(strcmp(duramen_version(), DURAMEN_VERSION) == 0);
    CHECK(duramen_abi_version() == DURAMEN_ABI_VERSION);
    CHECK(strcmp(duramen_status_name(DURAMEN_NOT_CONTIGUOUS), "not_contiguous") == 0);
    CHECK(strcmp(duramen_status_name(12345), "unknown") == 0);
    return 0;
}
