package duramen

import (
	"fmt"
	"strings"
)

// Code is the stable number of an error, the same in every language. A Code is itself an error: the sentinel that
// [errors.Is] looks for. Numbers are never given a new meaning; treat one that you do not know as a failure.
type Code int32

const (
	// ErrInvalidArgument: the call can never succeed as it is; nothing was changed.
	ErrInvalidArgument Code = 1
	// ErrNotFound: there is no entry at this index; it lies at or past the end of the log.
	ErrNotFound Code = 2
	// ErrCompacted: the index lies at or below the boundary; the entry was purged.
	ErrCompacted Code = 3
	// ErrNotContiguous: an append must begin at the next index and go on without a gap or an overlap; nothing was changed.
	ErrNotContiguous Code = 4
	// ErrTooLarge: a limit of the options would be passed; nothing was changed.
	ErrTooLarge Code = 5
	// ErrCorrupt: bytes that were acknowledged as durable are not there any more, or not as they were written.
	ErrCorrupt Code = 6
	// ErrPoisoned: an earlier write or flush failed, so nothing more is written. Reads go on; opening the store again heals
	// it.
	ErrPoisoned Code = 7
	// ErrLocked: another process, or an exclusive opening in this one, owns the directory.
	ErrLocked Code = 8
	// ErrClosed: the store was closed; open it again.
	ErrClosed Code = 9
	// ErrNoSpace: the disk is full; nothing was changed, and the store goes on by itself when space returns.
	ErrNoSpace Code = 10
	// ErrIO: the operating system reported an error.
	ErrIO Code = 11
	// ErrUnsupportedFormat: the store was written by a newer version, or uses a feature that this version does not know.
	ErrUnsupportedFormat Code = 12
	// ErrNotAStore: the path does not hold a store.
	ErrNotAStore Code = 13
	// ErrTimeout: what was waited for did not happen in time; it may still happen.
	ErrTimeout Code = 14
	// ErrForked: the handle belongs to the parent process; open the store again in this one.
	ErrForked Code = 15
	// ErrNoMemory: memory could not be allocated; nothing was changed.
	ErrNoMemory Code = 16
	// ErrHole: the index lies inside the log but no entry was ever put there, or it was removed.
	ErrHole Code = 17
	// ErrOptionsConflict: the store is open in this process with another value of an option.
	ErrOptionsConflict Code = 18
	// ErrPanic: an internal error was caught. If a write was under way, the store is poisoned.
	ErrPanic Code = 99
)

var codeNames = map[Code]string{
	ErrInvalidArgument:   "invalid_argument",
	ErrNotFound:          "not_found",
	ErrCompacted:         "compacted",
	ErrNotContiguous:     "not_contiguous",
	ErrTooLarge:          "too_large",
	ErrCorrupt:           "corrupt",
	ErrPoisoned:          "poisoned",
	ErrLocked:            "locked",
	ErrClosed:            "closed",
	ErrNoSpace:           "no_space",
	ErrIO:                "io",
	ErrUnsupportedFormat: "unsupported_format",
	ErrNotAStore:         "not_a_store",
	ErrTimeout:           "timeout",
	ErrForked:            "forked",
	ErrNoMemory:          "no_memory",
	ErrHole:              "hole",
	ErrOptionsConflict:   "options_conflict",
	ErrPanic:             "panic",
}

// String returns the code's name in lower case, the same in every language: "not_found". "unknown" for a number that this
// version does not know.
func (c Code) String() string {
	if name, ok := codeNames[c]; ok {
		return name
	}
	return "unknown"
}

// Error returns the code's name in words: "duramen: not found".
func (c Code) Error() string {
	if name, ok := codeNames[c]; ok {
		return "duramen: " + strings.ReplaceAll(name, "_", " ")
	}
	return fmt.Sprintf("duramen: unknown error %d", int32(c))
}

// Error is what every failed call returns.
type Error struct {
	// Op is what was attempted: "append".
	Op string
	// Path is the store's directory, as it was given to open.
	Path string
	// Code is the error's stable number.
	Code Code
	// Message says what happened, where, with both values that disagree, and what can be done.
	Message string
	// Err is what lies behind it, where that is an error of Go: a context's, or fs.ErrNotExist. Otherwise nil.
	Err error
}

// Error returns one line: "duramen: append data: group 0: not contiguous: expected index 4, got 7".
func (e *Error) Error() string {
	return "duramen: " + e.Op + " " + e.Path + ": " + e.Message
}

// Unwrap returns Err.
func (e *Error) Unwrap() error {
	return e.Err
}

// Is tells whether target is the error's code.
func (e *Error) Is(target error) bool {
	return target == error(e.Code)
}
