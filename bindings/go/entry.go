package duramen

import "strconv"

// Entry is one entry of a Raft log.
type Entry struct {
	// Index is the entry's place in its log. 0 is an ordinary index; 2^64-1 is refused.
	Index uint64
	// Term is the term in which the entry was created.
	Term uint64
	// Kind is the caller's own tag; the log stores it and gives it no meaning.
	Kind uint8
	// Data is the payload. Writes copy it. The entries of one read share one buffer, which belongs to the caller.
	Data []byte
}

// EntryID is what identifies an entry among all logs of its group.
type EntryID struct {
	Index, Term uint64
}

// Bounds is the half-open range of a log's indexes: from the lowest present one to the one that an append would take. Between
// them may be holes. An empty log can have bounds, with First equal to Next.
type Bounds struct {
	First, Next uint64
}

// HardState is the small state that a Raft node must find again after a restart.
type HardState struct {
	// Term is the latest term the node has seen.
	Term uint64
	// Vote is whom the node voted for in that term; no number stands for "nobody".
	Vote Optional
	// Commit is the highest index known to be committed, where the caller keeps it.
	Commit Optional
}

// Optional is a number that may be absent, in the manner of sql.Null. The zero value is absent. Two are equal with ==.
type Optional struct {
	// Value is the number, 0 where it is absent.
	Value uint64
	// Valid tells whether there is one.
	Valid bool
}

// Some is a number that is present.
func Some(value uint64) Optional {
	return Optional{Value: value, Valid: true}
}

// String returns the number, or "none".
func (o Optional) String() string {
	if !o.Valid {
		return "none"
	}
	return strconv.FormatUint(o.Value, 10)
}

// Position is how far a store had come when a write was accepted. One space of numbers for all logs of a store, valid while
// the store stays open. There is nothing to free.
type Position uint64
