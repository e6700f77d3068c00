// Package duramen is the durable log under a Raft node: one write-ahead log on disk, shared by as many Raft groups as a
// process runs. What it has acknowledged as durable is there after a crash, byte for byte; what was written together comes
// back together or not at all.
//
// A [Store] is one open directory, owned by one process. A [Log] holds the entries and the [HardState] of one Raft group in
// it; [Open] is the short form for a store with one group. An [Entry] has an index, a term and bytes. Ranges are half-open:
// Read(5, 8, …) returns 5, 6 and 7.
//
// # Durability
//
// A write returns when it survives a power cut. With [Buffered] it returns when the operating system has the bytes: readable,
// and safe against the death of the process. The [Position] that a write returns tells [Log.Wait] what to wait for.
//
// # Errors
//
// Every error is an [*Error] with a [Code]; the codes are the same in all languages, and each is a target for [errors.Is]:
//
//	if errors.Is(err, duramen.ErrCompacted) { … }
//
// What may be absent is a value and a bool beside it, never a special number and never an error.
//
// # Goroutines and threads
//
// Everything is safe for many goroutines. A call into the library holds an operating-system thread while it waits for the
// disk, and Go never gives a thread back. So a store lets at most 64 writes and 64 reads into the library at a time; further
// ones wait as goroutines, and the library flushes those that are inside together. Goroutines in [Log.Wait] share one thread.
// A thousand writers cost some dozens of threads, not a thousand.
//
// # The end of a store
//
// [Store.Close] flushes, waits for running calls and reports; later calls answer [ErrClosed]. A store that becomes unreachable
// without Close is released by the garbage collector at some time, without a flush and with a warning to the logger.
//
// # Building
//
// The package needs cgo, Linux on x86-64, and the static library, which `make go-native` builds in the repository.
package duramen

// Version is the version of this package and of the library it was made for.
const Version = "0.1.0"
