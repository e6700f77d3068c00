// duramen: the durable log under a Raft node.
//
// This header is the manual. It is generated from ffi/src; `make header` writes it again.
//
//  1. Functions that can fail return a duramen_status, 0 for success, and take a duramen_error of the caller last, which
//     says more; NULL is allowed there. Order of parameters: the handle, inputs, outputs, error.
//  2. Outputs are written on success only, all of them. They must not overlap each other or the inputs. NULL is allowed
//     where a parameter's description says so; elsewhere it is DURAMEN_INVALID_ARGUMENT, and the message names it.
//  3. Handles are opaque. What a function returns through a pointer to a pointer belongs to the caller until it is freed
//     with the function named there. Handles do not depend on each other: they may be freed in any order. Freeing NULL does
//     nothing; freeing twice is a mistake that cannot be noticed. Never mix these functions with malloc and free.
//  4. Input bytes are a pointer and a length, and are copied before the call returns.
//  5. Functions on a const handle may be called from any thread at the same time. Those that free a handle, or take one
//     that is not const, need it for themselves. There are no callbacks, no thread-local state, and nothing global to set up.
//  6. Closing can fail, freeing cannot: duramen_store_close reports, duramen_store_free ends. After closing every function on
//     the store and its logs answers DURAMEN_CLOSED. Entries that were read before stay valid.
//  7. Each function says whether it may block on the disk.
//  8. Functions that are named for no handle, such as duramen_append, belong to duramen_log.
//  9. duramen_entry, duramen_entry_ref, duramen_hard_state and duramen_error never change their layout. Functions, statuses
//     and options may be added; a status that you do not know is a failure. Compare duramen_abi_version() when you load the
//     library at run time.
//
// Before you begin:
//
//  - One process per directory. A second one gets DURAMEN_LOCKED.
//  - Handles belong to the process that opened the store. In a child of fork() they answer DURAMEN_FORKED, and freeing them
//    does nothing to the store; open it again there, once the parent has closed it.
//  - Local file systems only. Network file systems do not keep what they promise about flushes and locks.
//  - After DURAMEN_POISONED nothing is written any more: close the store and open it again.


#ifndef DURAMEN_H
#define DURAMEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The version of this header.
#define DURAMEN_VERSION_MAJOR 0
#define DURAMEN_VERSION_MINOR 1
#define DURAMEN_VERSION_PATCH 0
#define DURAMEN_VERSION "0.1.0"

// The version of the binary interface that this header describes. Within one version functions, statuses and options are
// only added.
#define DURAMEN_ABI_VERSION 1

// Entries that were read: an array, and the bytes it points to. It depends on nothing, so it outlives its log and its
// store. It never changes, so many threads may look at it; only duramen_entries_free needs it alone.
typedef struct duramen_entries duramen_entries;

// The entries and small state of one Raft group in a store. All functions but duramen_log_free may be called from any
// thread at the same time; readers never wait for a flush. What is written through one handle is seen through all.
typedef struct duramen_log duramen_log;

// How to open a store. Begins with the defaults; each setter changes one of them, and the values are checked when a store
// is opened. Belongs to one thread at a time. Options may be freed as soon as the store is open, and used for several.
typedef struct duramen_options duramen_options;

// One open directory: one write-ahead log on disk, shared by many groups, owned by one process. A second opening of the
// same directory in one process shares the store; another process is refused with DURAMEN_LOCKED. All functions but
// duramen_store_free may be called from any thread at the same time.
typedef struct duramen_store duramen_store;

// What a function returns: DURAMEN_OK, or one of the numbers below. Numbers keep their meaning for ever, and new ones may
// come: treat one that you do not know as a failure.
typedef int32_t duramen_status;

// What went wrong. It belongs to the caller, usually on the stack, and there is nothing to free. A function that takes
// one fills it in any case, with DURAMEN_OK and an empty message after success; NULL is allowed where the message is not
// wanted. Always 512 bytes.
typedef struct {
    // The status that the function returned.
    duramen_status code;
    // What happened, where, and what can be done: UTF-8, one line, ending with a zero byte. What does not fit is left out
    // in the middle.
    char message[508];
} duramen_error;

// One entry of a Raft log. Plain data; its layout never changes.
typedef struct {
    // The entry's place in its log. 0 is an ordinary index; 2^64-1 is refused.
    uint64_t index;
    // The term in which the entry was created.
    uint64_t term;
    // The payload, len bytes. NULL is allowed where len is 0.
    const void *data;
    // The size of the payload in bytes.
    size_t len;
    // The caller's own tag; the log stores it and gives it no meaning.
    uint8_t kind;
} duramen_entry;

// When a write returns: DURAMEN_DURABLE or DURAMEN_BUFFERED.
typedef int32_t duramen_durability;

// One entry whose payload lies in a buffer beside it. Plain data without a pointer, for languages that may not hand over
// memory with pointers in it; its layout never changes.
typedef struct {
    // The entry's place in its log. 0 is an ordinary index; 2^64-1 is refused.
    uint64_t index;
    // The term in which the entry was created.
    uint64_t term;
    // Where the payload begins in the buffer, in bytes.
    size_t offset;
    // The size of the payload in bytes.
    size_t len;
    // The caller's own tag; the log stores it and gives it no meaning.
    uint8_t kind;
} duramen_entry_ref;

// What a Raft node must find again after a restart. Plain data of the caller; its layout never changes.
typedef struct {
    // The latest term the node has seen.
    uint64_t term;
    // Whom the node voted for in that term, if has_vote is not zero; no number stands for "nobody".
    uint64_t vote;
    // The highest index known to be committed, if has_commit is not zero.
    uint64_t commit;
    // Whether there is a vote: zero or not.
    uint8_t has_vote;
    // Whether there is a commit index: zero or not.
    uint8_t has_commit;
} duramen_hard_state;

// The call did what it says.
#define DURAMEN_OK 0

// The call can never succeed as it is; nothing was changed.
#define DURAMEN_INVALID_ARGUMENT 1

// There is no entry at this index: it lies at or past the end of the log.
#define DURAMEN_NOT_FOUND 2

// The index lies at or below the boundary: the entry was purged.
#define DURAMEN_COMPACTED 3

// An append must begin at the next index and go on without a gap or an overlap; nothing was changed.
#define DURAMEN_NOT_CONTIGUOUS 4

// A limit of the options would be passed; nothing was changed.
#define DURAMEN_TOO_LARGE 5

// Bytes that were acknowledged as durable are not there any more, or not as they were written.
#define DURAMEN_CORRUPT 6

// An earlier write or flush failed, so nothing more is written. Reads go on; opening the store again heals it.
#define DURAMEN_POISONED 7

// Another process, or an exclusive opening in this one, owns the directory.
#define DURAMEN_LOCKED 8

// The store was closed; open it again.
#define DURAMEN_CLOSED 9

// The disk is full; nothing was changed, and the store goes on by itself when space returns.
#define DURAMEN_NO_SPACE 10

// The operating system reported an error.
#define DURAMEN_IO 11

// The store was written by a newer version, or uses a feature that this version does not know.
#define DURAMEN_UNSUPPORTED_FORMAT 12

// The path does not hold a store.
#define DURAMEN_NOT_A_STORE 13

// What was waited for did not happen in time; it may still happen.
#define DURAMEN_TIMEOUT 14

// The handle belongs to the parent process; open the store again in this one.
#define DURAMEN_FORKED 15

// Memory could not be allocated; nothing was changed.
#define DURAMEN_NO_MEMORY 16

// The index lies inside the log but no entry was ever put there, or it was removed.
#define DURAMEN_HOLE 17

// The store is open in this process with another value of an option.
#define DURAMEN_OPTIONS_CONFLICT 18

// An internal error was caught. If a write was under way, the store is poisoned.
#define DURAMEN_PANIC 99

// When what was written survives a power cut.
#define DURAMEN_DURABLE 0

// When the operating system has the bytes: they can be read and survive the death of the process, but not yet a power cut.
// A later durable write or duramen_sync makes them durable.
#define DURAMEN_BUFFERED 1

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the library, such as "0.1.0"; compare it with DURAMEN_VERSION. Never NULL, never to be freed. Does not
// block.
const char *duramen_version(void);

// The version of the library's binary interface. A program that was compiled with another DURAMEN_ABI_VERSION must not go
// on. Does not block.
uint32_t duramen_abi_version(void);

// The name of a status in lower case, the same in every language: "ok", "not_found" and so on; "unknown" for a number that this
// version does not know. Never NULL, never to be freed. Does not block.
const char *duramen_status_name(duramen_status status);

// New options with the defaults, to be freed with duramen_options_free. NULL only after an internal error. Does not block.
duramen_options *duramen_options_new(void);

// Frees options. NULL is allowed and does nothing. Does not block.
void duramen_options_free(duramen_options *options);

// Whether a missing directory, or an empty one, becomes a new store. True by default. Does not block.
duramen_status duramen_options_set_create(duramen_options *options, bool create, duramen_error *error);

// Whether this opening refuses to share the store with another one of this process. False by default. Does not block.
duramen_status duramen_options_set_exclusive(duramen_options *options, bool exclusive, duramen_error *error);

// The size that segments grow to, in bytes: 16 KiB to 1 GiB, rounded up to whole 4 KiB blocks. 64 MiB by default. Does not
// block.
duramen_status duramen_options_set_segment_bytes(duramen_options *options,
                                                 uint64_t segment_bytes,
                                                 duramen_error *error);

// The largest data of one entry, in bytes: 1 to 1 GiB. 64 MiB by default. Does not block.
duramen_status duramen_options_set_entry_bytes_max(duramen_options *options,
                                                   uint64_t entry_bytes_max,
                                                   duramen_error *error);

// The largest data of one append, in bytes: 1 to 1 GiB. 256 MiB by default. Does not block.
duramen_status duramen_options_set_batch_bytes_max(duramen_options *options,
                                                   uint64_t batch_bytes_max,
                                                   duramen_error *error);

// The largest number of groups: 1 to 2^20. 2^20 by default. Does not block.
duramen_status duramen_options_set_groups_max(duramen_options *options, uint64_t groups_max, duramen_error *error);

// Opens the store in a directory, creating it if it is missing or empty; the parent directory must exist.
//
// directory: a path, ending with a zero byte.
// options: NULL for the defaults.
// store: receives the store, to be freed with duramen_store_free.
//
// Blocks on the disk: everything in the store is read once.
duramen_status duramen_store_open(const char *directory,
                                  const duramen_options *options,
                                  duramen_store **store,
                                  duramen_error *error);

// The log of one group. Creates nothing: a group comes into being with its first write. A store with one group uses 0.
//
// log: receives the log, to be freed with duramen_log_free. It may outlive the handle of the store.
//
// Does not block on the disk.
duramen_status duramen_store_log(const duramen_store *store, uint64_t group, duramen_log **log, duramen_error *error);

// Ends this opening: flushes, and reports what could not be flushed. From then on every function answers DURAMEN_CLOSED on
// this store and on its logs, also when closing failed; they are still to be freed. Where another opening of this process
// shares the store, that one goes on. Blocks on the disk.
duramen_status duramen_store_close(const duramen_store *store,
                                   duramen_error *error);

// Frees a handle; no other function may be using it. When the last handle of an opening goes, logs included, without
// duramen_store_close before, the opening ends without a flush: nothing that was acknowledged as durable is lost. NULL is
// allowed and does nothing; to free twice is a mistake that cannot be noticed. May block on the disk.
void duramen_store_free(duramen_store *store);

// Frees a handle; no other function may be using it. As duramen_store_free in all else. May block on the disk.
void duramen_log_free(duramen_log *log);

// The lowest present index and the next one, from memory. Between them may be holes.
//
// present: receives whether there are bounds; there are none while the log is empty and accepts any index.
// first, next: receive them; next is the index behind the last entry. 0 where there are none.
//
// Does not block on the disk.
duramen_status duramen_bounds(const duramen_log *log,
                              bool *present,
                              uint64_t *first,
                              uint64_t *next,
                              duramen_error *error);

// Index and term of the last entry, from memory.
//
// present: receives whether there is one.
// index, term: receive them; 0 where there is none.
//
// Does not block on the disk.
duramen_status duramen_last(const duramen_log *log,
                            bool *present,
                            uint64_t *index,
                            uint64_t *term,
                            duramen_error *error);

// The term of the entry at an index, from memory; errors as duramen_get.
//
// term: receives it.
//
// Does not block on the disk.
duramen_status duramen_term(const duramen_log *log, uint64_t index, uint64_t *term, duramen_error *error);

// How many entries the log has, from memory.
//
// count: receives it.
//
// Does not block on the disk.
duramen_status duramen_count(const duramen_log *log, uint64_t *count, duramen_error *error);

// Makes everything durable that was accepted before the call, in all logs of the store.
//
// position: receives how far that is; may be NULL.
//
// Blocks on the disk.
duramen_status duramen_sync(const duramen_log *log, uint64_t *position, duramen_error *error);

// The position up to which everything survives a power cut. A position is a plain number, one sequence for all logs of a
// store, valid while the store stays open.
//
// position: receives it.
//
// Does not block on the disk.
duramen_status duramen_durable(const duramen_log *log,
                               uint64_t *position,
                               duramen_error *error);

// Waits until a position is durable. It asks for no flush: a durable write or duramen_sync must. A position that was never
// issued is an error.
//
// timeout_ms: the longest wait in milliseconds, then DURAMEN_TIMEOUT; 0 only looks, UINT64_MAX waits without an end.
//
// Blocks until then.
duramen_status duramen_wait(const duramen_log *log,
                            uint64_t position,
                            uint64_t timeout_ms,
                            duramen_error *error);

// Appends entries behind the last one, as one batch: after a crash all of them are there, or none. The first index must be
// the next one (any, in an empty log), the others must follow without a gap: DURAMEN_NOT_CONTIGUOUS otherwise. A rejected
// call changes nothing. The entries are copied before the call returns.
//
// entries: count entries; NULL is allowed where count is 0, which appends nothing.
// durability: DURAMEN_DURABLE returns when the entries survive a power cut; DURAMEN_BUFFERED when they can be read and
// survive the death of the process, see duramen_sync and duramen_wait.
// position: receives the position of the write, for duramen_wait; may be NULL.
//
// Blocks on the disk.
duramen_status duramen_append(const duramen_log *log,
                              const duramen_entry *entries,
                              size_t count,
                              duramen_durability durability,
                              uint64_t *position,
                              duramen_error *error);

// duramen_append for entries without pointers.
//
// refs: count entries; NULL is allowed where count is 0, which appends nothing.
// data: data_len bytes that hold all payloads; NULL is allowed where data_len is 0.
// durability, position: as in duramen_append.
//
// Blocks on the disk.
duramen_status duramen_append_refs(const duramen_log *log,
                                   const duramen_entry_ref *refs,
                                   size_t count,
                                   const void *data,
                                   size_t data_len,
                                   duramen_durability durability,
                                   uint64_t *position,
                                   duramen_error *error);

// Reads the entries from an index on, without a gap, up to the end of the range or the limit; at least one, unless the
// range is empty. An index in between that is not there is an error that names it.
//
// from, to: the range; to is not part of it.
// bytes_max: the most bytes of data, beyond the first entry; UINT64_MAX for no limit.
// entries: receives the entries, to be freed with duramen_entries_free.
//
// Blocks on the disk, never on a flush.
duramen_status duramen_read(const duramen_log *log,
                            uint64_t from,
                            uint64_t to,
                            uint64_t bytes_max,
                            duramen_entries **entries,
                            duramen_error *error);

// Reads one entry. DURAMEN_NOT_FOUND at or past the end, DURAMEN_HOLE below it, DURAMEN_COMPACTED where it was purged,
// DURAMEN_CORRUPT where the disk does not give back what was written.
//
// entries: receives an array of one entry, to be freed with duramen_entries_free.
//
// Blocks on the disk, never on a flush.
duramen_status duramen_get(const duramen_log *log, uint64_t index, duramen_entries **entries, duramen_error *error);

// The entries, duramen_entries_len of them; their data stays where it is until duramen_entries_free. NULL if there are
// none. Does not block.
const duramen_entry *duramen_entries_data(const duramen_entries *entries);

// How many entries there are; 0 for NULL. Does not block.
size_t duramen_entries_len(const duramen_entries *entries);

// Where to go on reading: the index behind the last entry, or where the range began if it was empty; 0 for NULL. Does not
// block.
uint64_t duramen_entries_next(const duramen_entries *entries);

// Frees entries, and with them the data they point to. NULL is allowed and does nothing. Does not block.
void duramen_entries_free(duramen_entries *entries);

// duramen_read into memory of the caller, in one call and with nothing to free: entries without pointers into one array,
// their payloads one after the other into another. As many entries as both have room for; at least one, unless the range
// is empty.
//
// from, to: the range; to is not part of it.
// refs: room for refs_capacity entries, at least one.
// data: room for data_capacity bytes; NULL is allowed where that is 0.
// count: receives how many entries were filled in.
// data_len: receives how many bytes their payloads have. If that is more than data_capacity, there is one entry, its
// payload was not copied, and the call is to be made again with so much room.
// next: receives where to go on reading.
//
// Blocks on the disk, never on a flush.
duramen_status duramen_read_into(const duramen_log *log,
                                 uint64_t from,
                                 uint64_t to,
                                 duramen_entry_ref *refs,
                                 size_t refs_capacity,
                                 void *data,
                                 size_t data_capacity,
                                 size_t *count,
                                 size_t *data_len,
                                 uint64_t *next,
                                 duramen_error *error);

// Sets the hard state of a log's group; the last one wins.
//
// durability: DURAMEN_DURABLE, or DURAMEN_BUFFERED; see duramen_append.
// position: receives the position of the write; may be NULL.
//
// Blocks on the disk.
duramen_status duramen_set_hard_state(const duramen_log *log,
                                      const duramen_hard_state *state,
                                      duramen_durability durability,
                                      uint64_t *position,
                                      duramen_error *error);

// The hard state of a log's group, from memory.
//
// present: receives whether it was ever set, which is not the same as zero.
// state: receives it; all zero where it was never set.
//
// Does not block on the disk.
duramen_status duramen_get_hard_state(const duramen_log *log,
                                      bool *present,
                                      duramen_hard_state *state,
                                      duramen_error *error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

// Layouts that never change. This form of an assertion is understood by every compiler of C and C++.
typedef char duramen_error_has_512_bytes[sizeof(duramen_error) == 512 ? 1 : -1];
typedef char duramen_entry_has_40_bytes[sizeof(duramen_entry) == 40 ? 1 : -1];
typedef char duramen_entry_ref_has_40_bytes[sizeof(duramen_entry_ref) == 40 ? 1 : -1];
typedef char duramen_hard_state_has_32_bytes[sizeof(duramen_hard_state) == 32 ? 1 : -1];

#endif  /* DURAMEN_H */
