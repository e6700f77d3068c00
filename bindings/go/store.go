//go:build linux && amd64

package duramen

// #include "native.h"
// #include <stdlib.h>
import "C"

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"unsafe"
)

// Store is one open directory: one write-ahead log on disk, shared by many groups, owned by one process. A second opening of
// the same directory in one process shares the store; another process is refused with [ErrLocked]. Safe for many goroutines.
type Store struct {
	path   string
	logger *slog.Logger
	// guard is held for reading during every call, for writing while the store closes.
	guard sync.RWMutex
	// native is nil once the store is closed.
	native   *nativeStore
	closeErr error
	leakNet  runtime.Cleanup
	// Who may be inside the library and wait for the disk there.
	writes, reads gate
	waiters       waiters
}

// nativeStore is what has to be freed. It knows nothing of its Store, so that the garbage collector can tell when that is gone.
type nativeStore struct {
	store *C.duramen_store
	// root is the log of group 0; through it go the calls that concern all logs.
	root *C.duramen_log
}

func (n *nativeStore) free() {
	C.duramen_log_free(n.root)
	C.duramen_store_free(n.store)
}

// OpenStore opens the store in a directory, creating it if it is missing or empty; the parent directory must exist. Blocks on
// the disk: everything in the store is read once.
func OpenStore(dir string, opts ...Option) (*Store, error) {
	o := optionsOf(opts)
	s := &Store{path: dir, logger: o.logger, writes: newGate(), reads: newGate()}
	native, err := s.open(&o)
	if err != nil {
		return nil, err
	}
	s.native = native
	s.leakNet = runtime.AddCleanup(s, func(native *nativeStore) {
		o.logger.Warn("duramen: a store was never closed; it is released without a flush", "dir", dir)
		native.free()
	}, native)
	o.logger.Debug("duramen: opened", "dir", dir)
	return s, nil
}

// Open opens a store and returns the log of group 0: the short form for a store with one group.
func Open(dir string, opts ...Option) (*Log, error) {
	s, err := OpenStore(dir, opts...)
	if err != nil {
		return nil, err
	}
	return s.Log(0), nil
}

func (s *Store) open(o *options) (*nativeStore, error) {
	if have := C.duramen_abi_version(); have != C.DURAMEN_ABI_VERSION {
		return nil, s.failure("open", ErrUnsupportedFormat, fmt.Sprintf(
			"the library has binary interface %d, this package needs %d", have, C.DURAMEN_ABI_VERSION))
	}
	if strings.IndexByte(s.path, 0) >= 0 {
		return nil, s.failure("open", ErrInvalidArgument, "the path contains a zero byte")
	}
	dir := C.CString(s.path)
	defer C.free(unsafe.Pointer(dir))
	native := C.duramen_options_new()
	if native == nil {
		return nil, s.failure("open", ErrPanic, "options could not be made")
	}
	defer C.duramen_options_free(native)
	o.set(native)

	var opened nativeStore
	var failure C.duramen_error
	if C.duramen_store_open(dir, native, &opened.store, &failure) != C.DURAMEN_OK {
		err := s.failed("open", &failure)
		if _, missing := os.Stat(s.path); errors.Is(missing, fs.ErrNotExist) {
			err.Err = fs.ErrNotExist
		}
		return nil, err
	}
	if C.duramen_store_log(opened.store, 0, &opened.root, &failure) != C.DURAMEN_OK {
		C.duramen_store_free(opened.store)
		return nil, s.failed("open", &failure)
	}
	return &opened, nil
}

// set hands over what was asked for. Setters fail for NULL only; opening checks the values.
func (o *options) set(native *C.duramen_options) {
	if o.create != nil {
		C.duramen_options_set_create(native, C.bool(*o.create), nil)
	}
	if o.exclusive != nil {
		C.duramen_options_set_exclusive(native, C.bool(*o.exclusive), nil)
	}
	if o.segmentBytes != nil {
		C.duramen_options_set_segment_bytes(native, C.uint64_t(*o.segmentBytes), nil)
	}
	if o.entryBytesMax != nil {
		C.duramen_options_set_entry_bytes_max(native, C.uint64_t(*o.entryBytesMax), nil)
	}
	if o.batchBytesMax != nil {
		C.duramen_options_set_batch_bytes_max(native, C.uint64_t(*o.batchBytesMax), nil)
	}
	if o.groupsMax != nil {
		C.duramen_options_set_groups_max(native, C.uint64_t(*o.groupsMax), nil)
	}
}

// Log returns the log of one group. Creates nothing: a group comes into being with its first write. The log of a closed store
// answers [ErrClosed]. Does not block on the disk.
func (s *Store) Log(group uint64) *Log {
	l := &Log{store: s, group: group}
	if s.enter("log", nil) != nil {
		return l
	}
	defer s.leave(nil)
	var native *C.duramen_log
	C.duramen_store_log(s.native.store, C.uint64_t(group), &native, nil)
	l.native = native
	runtime.AddCleanup(l, func(native *C.duramen_log) { C.duramen_log_free(native) }, native)
	return l
}

// Path returns the store's directory, as it was given to open.
func (s *Store) Path() string {
	return s.path
}

// Sync makes everything durable that was accepted before the call, in all logs of the store, and returns how far that is.
// Blocks on the disk.
func (s *Store) Sync() (Position, error) {
	if err := s.enter("sync", s.writes); err != nil {
		return 0, err
	}
	defer s.leave(s.writes)
	var position C.uint64_t
	var failure C.duramen_error
	if C.duramen_sync(s.native.root, &position, &failure) != C.DURAMEN_OK {
		return 0, s.failed("sync", &failure)
	}
	return Position(position), nil
}

// Durable returns the position up to which everything survives a power cut. Does not block on the disk.
func (s *Store) Durable() (Position, error) {
	if err := s.enter("durable", nil); err != nil {
		return 0, err
	}
	defer s.leave(nil)
	return s.durable("durable")
}

// durable needs the guard.
func (s *Store) durable(op string) (Position, error) {
	var position C.uint64_t
	var failure C.duramen_error
	if C.duramen_durable(s.native.root, &position, &failure) != C.DURAMEN_OK {
		return 0, s.failed(op, &failure)
	}
	return Position(position), nil
}

// Close ends this opening: it waits for running calls, flushes, and reports what could not be flushed. Every later call on the
// store and its logs answers [ErrClosed], also when closing failed; Close again returns what the first one returned. Where
// another opening of this process shares the store, that one goes on. Blocks on the disk.
func (s *Store) Close() error {
	s.guard.Lock()
	defer s.guard.Unlock()
	if s.native == nil {
		return s.closeErr
	}
	var failure C.duramen_error
	if C.duramen_store_close(s.native.store, &failure) != C.DURAMEN_OK {
		s.closeErr = s.failed("close", &failure)
	}
	s.leakNet.Stop()
	s.native.free()
	s.native = nil
	s.logger.Debug("duramen: closed", "dir", s.path, "error", s.closeErr)
	return s.closeErr
}

// enter begins a call; leave ends it. Between them the store does not close.
func (s *Store) enter(op string, g gate) error {
	s.guard.RLock()
	if s.native == nil {
		s.guard.RUnlock()
		return s.failure(op, ErrClosed, "the store is closed")
	}
	g.enter()
	return nil
}

func (s *Store) leave(g gate) {
	g.leave()
	s.guard.RUnlock()
}

func (s *Store) failure(op string, code Code, message string) *Error {
	return &Error{Op: op, Path: s.path, Code: code, Message: message}
}

// failed makes an error of what the library reported.
func (s *Store) failed(op string, failure *C.duramen_error) *Error {
	message := unsafe.Slice((*byte)(unsafe.Pointer(&failure.message)), len(failure.message))
	if end := bytes.IndexByte(message, 0); end >= 0 {
		message = message[:end]
	}
	return s.failure(op, Code(failure.code), string(message))
}

// gate bounds how many goroutines are inside the library, and so how many threads wait there. A nil gate is always open: for
// calls that do not block.
type gate chan struct{}

const insideMax = 64

func newGate() gate {
	return make(gate, insideMax)
}

func (g gate) enter() {
	if g != nil {
		g <- struct{}{}
	}
}

func (g gate) leave() {
	if g != nil {
		<-g
	}
}
