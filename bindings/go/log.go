//go:build linux && amd64

package duramen

// #include "native.h"
import "C"

import (
	"context"
	"errors"
	"iter"
	"math"
	"sync"
	"unsafe"
)

// NoLimit as the limit of [Log.Read] asks for the whole range at once, in memory.
const NoLimit = math.MaxUint64

// Log holds the entries and small state of one Raft group in a store. What is written through one handle is seen through all;
// readers never wait for a flush, and may see entries that are written and not yet durable. Safe for many goroutines. There is
// nothing to free; Close ends the whole store.
type Log struct {
	store  *Store
	group  uint64
	native *C.duramen_log
}

// Group returns the group's number.
func (l *Log) Group() uint64 {
	return l.group
}

// Store returns the store that the log lies in.
func (l *Log) Store() *Store {
	return l.store
}

// Append appends entries behind the last one, as one batch: after a crash all of them are there, or none. The first index must
// be the next one (any, in an empty log), the others must follow without a gap: [ErrNotContiguous] otherwise. A rejected call
// changes nothing. Durable when it returns, unless [Buffered]. The data is copied. Blocks on the disk.
func (l *Log) Append(entries []Entry, opts ...WriteOption) (Position, error) {
	if err := l.enter("append", l.store.writes); err != nil {
		return 0, err
	}
	defer l.leave(l.store.writes)
	flat := flatten(entries)
	defer flat.release()
	var position C.uint64_t
	var failure C.duramen_error
	status := C.duramen_append_refs(l.native, unsafe.SliceData(flat.refs), C.size_t(len(flat.refs)),
		unsafe.Pointer(unsafe.SliceData(flat.data)), C.size_t(len(flat.data)), durabilityOf(opts), &position, &failure)
	if status != C.DURAMEN_OK {
		return 0, l.store.failed("append", &failure)
	}
	return Position(position), nil
}

// SetHardState sets the hard state; the last one wins. Durable when it returns, unless [Buffered]. Blocks on the disk.
func (l *Log) SetHardState(state HardState, opts ...WriteOption) (Position, error) {
	if err := l.enter("set hard state", l.store.writes); err != nil {
		return 0, err
	}
	defer l.leave(l.store.writes)
	native := C.duramen_hard_state{
		term: C.uint64_t(state.Term), vote: C.uint64_t(state.Vote.Value), commit: C.uint64_t(state.Commit.Value),
		has_vote: flag(state.Vote.Valid), has_commit: flag(state.Commit.Valid),
	}
	var position C.uint64_t
	var failure C.duramen_error
	if C.duramen_set_hard_state(l.native, &native, durabilityOf(opts), &position, &failure) != C.DURAMEN_OK {
		return 0, l.store.failed("set hard state", &failure)
	}
	return Position(position), nil
}

// HardState returns the hard state; false if it was never set, which is not the same as zero. From memory.
func (l *Log) HardState() (HardState, bool, error) {
	if err := l.enter("hard state", nil); err != nil {
		return HardState{}, false, err
	}
	defer l.leave(nil)
	var present C.bool
	var state C.duramen_hard_state
	var failure C.duramen_error
	if C.duramen_get_hard_state(l.native, &present, &state, &failure) != C.DURAMEN_OK {
		return HardState{}, false, l.store.failed("hard state", &failure)
	}
	return HardState{
		Term:   uint64(state.term),
		Vote:   Optional{Value: uint64(state.vote), Valid: state.has_vote != 0},
		Commit: Optional{Value: uint64(state.commit), Valid: state.has_commit != 0},
	}, bool(present), nil
}

// Get returns the entry at index. [ErrNotFound] at or past the end, [ErrHole] below it, [ErrCompacted] where it was purged,
// [ErrCorrupt] where the disk does not give back what was written. Blocks on the disk, never on a flush.
func (l *Log) Get(index uint64) (Entry, error) {
	if index == math.MaxUint64 {
		return Entry{}, l.store.failure("get", ErrInvalidArgument, "index 18446744073709551615 (2^64-1) is reserved")
	}
	entries, err := l.read("get", index, index+1, NoLimit)
	if err != nil {
		return Entry{}, err
	}
	return entries[0], nil
}

// Read returns the entries from lo on, without a gap, up to hi, which is not part of the range, or to limit bytes of data; at
// least one, unless the range is empty. Where to go on is the last index plus one. An index in between that is not there is an
// error that names it; see [Log.Get]. The entries share one buffer. Blocks on the disk, never on a flush.
func (l *Log) Read(lo, hi, limit uint64) ([]Entry, error) {
	return l.read("read", lo, hi, limit)
}

// read asks with small buffers at first, and with larger ones as long as it was a buffer that ended the page. Each call gives
// one consistent page; the last one is taken.
func (l *Log) read(op string, lo, hi, limit uint64) ([]Entry, error) {
	if err := l.enter(op, l.store.reads); err != nil {
		return nil, err
	}
	defer l.leave(l.store.reads)
	page := pages.Get().(*flat)
	defer func() { page.release() }()
	slots, room := uint64(cap(page.refs)), min(limit, uint64(cap(page.data)))
	for {
		page = page.grown(slots, room)
		refs, data := page.refs[:slots], page.data[:room]
		var count, size C.size_t
		var next C.uint64_t
		var failure C.duramen_error
		status := C.duramen_read_into(l.native, C.uint64_t(lo), C.uint64_t(hi), unsafe.SliceData(refs), C.size_t(slots),
			unsafe.Pointer(unsafe.SliceData(data)), C.size_t(room), &count, &size, &next, &failure)
		if status != C.DURAMEN_OK {
			return nil, l.store.failed(op, &failure)
		}
		switch full := uint64(count) == slots; {
		case uint64(size) > room:
			room = uint64(size)
		case lo >= hi || uint64(next) == hi || room >= limit && !full:
			return spread(refs[:count], data[:size]), nil
		default:
			room = min(room*16, max(room, limit))
			if full {
				slots = min(slots*16, hi-lo)
			}
		}
	}
}

// All returns the entries from index from on, to the end of the log as it is when the loop gets there. Entries are read a page
// of about 1 MiB at a time, and those of a page share one buffer. Ends after the first error.
func (l *Log) All(from uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for next := from; ; {
			bounds, ok, err := l.Bounds()
			if err == nil && (!ok || next >= bounds.Next) {
				return
			}
			var entries []Entry
			if err == nil {
				entries, err = l.Read(next, bounds.Next, 1<<20)
			}
			if errors.Is(err, ErrNotFound) {
				continue // The end was cut off between the two calls; next lies behind it, or is there again.
			}
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, entry := range entries {
				if !yield(entry, nil) {
					return
				}
			}
			next = entries[len(entries)-1].Index + 1
		}
	}
}

// Bounds returns the lowest present index and the next one; false while nothing was ever written. From memory.
func (l *Log) Bounds() (Bounds, bool, error) {
	if err := l.enter("bounds", nil); err != nil {
		return Bounds{}, false, err
	}
	defer l.leave(nil)
	var present C.bool
	var first, next C.uint64_t
	var failure C.duramen_error
	if C.duramen_bounds(l.native, &present, &first, &next, &failure) != C.DURAMEN_OK {
		return Bounds{}, false, l.store.failed("bounds", &failure)
	}
	return Bounds{First: uint64(first), Next: uint64(next)}, bool(present), nil
}

// Last returns index and term of the last entry; false if there is none. From memory.
func (l *Log) Last() (EntryID, bool, error) {
	if err := l.enter("last", nil); err != nil {
		return EntryID{}, false, err
	}
	defer l.leave(nil)
	var present C.bool
	var index, term C.uint64_t
	var failure C.duramen_error
	if C.duramen_last(l.native, &present, &index, &term, &failure) != C.DURAMEN_OK {
		return EntryID{}, false, l.store.failed("last", &failure)
	}
	return EntryID{Index: uint64(index), Term: uint64(term)}, bool(present), nil
}

// Term returns the term of the entry at index; errors as [Log.Get]. From memory.
func (l *Log) Term(index uint64) (uint64, error) {
	if err := l.enter("term", nil); err != nil {
		return 0, err
	}
	defer l.leave(nil)
	var term C.uint64_t
	var failure C.duramen_error
	if C.duramen_term(l.native, C.uint64_t(index), &term, &failure) != C.DURAMEN_OK {
		return 0, l.store.failed("term", &failure)
	}
	return uint64(term), nil
}

// Count returns how many entries there are. From memory.
func (l *Log) Count() (uint64, error) {
	if err := l.enter("count", nil); err != nil {
		return 0, err
	}
	defer l.leave(nil)
	var count C.uint64_t
	var failure C.duramen_error
	if C.duramen_count(l.native, &count, &failure) != C.DURAMEN_OK {
		return 0, l.store.failed("count", &failure)
	}
	return uint64(count), nil
}

// Sync is [Store.Sync].
func (l *Log) Sync() (Position, error) {
	return l.store.Sync()
}

// Durable is [Store.Durable].
func (l *Log) Durable() (Position, error) {
	return l.store.Durable()
}

// Wait is [Store.Wait].
func (l *Log) Wait(ctx context.Context, position Position) error {
	return l.store.Wait(ctx, position)
}

// Close is [Store.Close]: it ends the opening that this log came from, with all its logs.
func (l *Log) Close() error {
	return l.store.Close()
}

func (l *Log) enter(op string, g gate) error {
	return l.store.enter(op, g)
}

// leave keeps the log reachable up to here, so that its native handle is not freed during the call.
func (l *Log) leave(g gate) {
	l.store.leave(g)
}

func durabilityOf(opts []WriteOption) C.duramen_durability {
	durability := C.duramen_durability(C.DURAMEN_DURABLE)
	for _, opt := range opts {
		if opt.buffered {
			durability = C.DURAMEN_BUFFERED
		}
	}
	return durability
}

func flag(set bool) C.uint8_t {
	if set {
		return 1
	}
	return 0
}

// flat is many entries in two pieces of memory without pointers, so that they cross to C in one call and nothing is pinned.
type flat struct {
	refs []C.duramen_entry_ref
	data []byte
}

const (
	flatRefs      = 128
	flatBytes     = 16 << 10
	flatBytesKept = 8 << 20
)

var pages = sync.Pool{New: func() any {
	return &flat{refs: make([]C.duramen_entry_ref, 0, flatRefs), data: make([]byte, 0, flatBytes)}
}}

// release gives memory back for the next call, unless it is large.
func (f *flat) release() {
	if uint64(cap(f.refs))*uint64(unsafe.Sizeof(C.duramen_entry_ref{}))+uint64(cap(f.data)) <= flatBytesKept {
		pages.Put(f)
	}
}

// grown has room for so many entries and bytes.
func (f *flat) grown(slots, room uint64) *flat {
	if uint64(cap(f.refs)) < slots {
		f.refs = make([]C.duramen_entry_ref, 0, slots)
	}
	if uint64(cap(f.data)) < room {
		f.data = make([]byte, 0, room)
	}
	return f
}

func flatten(entries []Entry) *flat {
	size := 0
	for i := range entries {
		size += len(entries[i].Data)
	}
	f := pages.Get().(*flat).grown(uint64(len(entries)), uint64(size))
	f.refs, f.data = f.refs[:0], f.data[:0]
	for i := range entries {
		entry := &entries[i]
		f.refs = append(f.refs, C.duramen_entry_ref{
			index: C.uint64_t(entry.Index), term: C.uint64_t(entry.Term), kind: C.uint8_t(entry.Kind),
			offset: C.size_t(len(f.data)), len: C.size_t(len(entry.Data)),
		})
		f.data = append(f.data, entry.Data...)
	}
	return f
}

// spread makes entries of what was read, with one buffer of their own.
func spread(refs []C.duramen_entry_ref, data []byte) []Entry {
	entries, own := make([]Entry, len(refs)), make([]byte, len(data))
	copy(own, data)
	for i, ref := range refs {
		begin, end := int(ref.offset), int(ref.offset+ref.len)
		entries[i] = Entry{
			Index: uint64(ref.index), Term: uint64(ref.term), Kind: uint8(ref.kind), Data: own[begin:end:end],
		}
	}
	return entries
}
