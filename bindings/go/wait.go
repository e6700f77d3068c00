//go:build linux && amd64

package duramen

// #include "native.h"
import "C"

import (
	"context"
	"sync"
)

// waitMillis is how long the watching goroutine stays in the library at a time. Close waits for it.
const waitMillis = 20

// waiters are the goroutines in Wait. One goroutine watches for all of them, as long as there are any: so they cost one
// thread.
type waiters struct {
	mutex    sync.Mutex
	pending  map[*waiter]struct{}
	watching bool
}

type waiter struct {
	position Position
	// done takes one result.
	done chan error
}

// Wait waits until position is durable. It asks for no flush: some other write or Sync must. A position that was never issued
// is [ErrInvalidArgument]. When the context ends first, the error is [ErrTimeout] and wraps the context's; the position may
// still become durable. A store that closes has flushed, or answers why not.
func (s *Store) Wait(ctx context.Context, position Position) error {
	reached, err := s.reached(position)
	if reached || err != nil {
		return err
	}
	w := &waiter{position: position, done: make(chan error, 1)}
	s.waiters.mutex.Lock()
	if s.waiters.pending == nil {
		s.waiters.pending = make(map[*waiter]struct{})
	}
	s.waiters.pending[w] = struct{}{}
	if !s.waiters.watching {
		s.waiters.watching = true
		go s.watch()
	}
	s.waiters.mutex.Unlock()

	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		s.waiters.mutex.Lock()
		delete(s.waiters.pending, w)
		s.waiters.mutex.Unlock()
		failure := s.failure("wait", ErrTimeout, context.Cause(ctx).Error())
		failure.Err = ctx.Err()
		return failure
	}
}

// reached looks whether a position is durable, without waiting.
func (s *Store) reached(position Position) (bool, error) {
	if err := s.enter("wait", nil); err != nil {
		return false, err
	}
	defer s.leave(nil)
	return s.waitNative(position, 0)
}

// watch wakes those whose position is durable, until there is nobody left.
func (s *Store) watch() {
	durable, err := s.advance(0)
	for s.waiters.wake(durable, err) {
		durable, err = s.advance(durable + 1)
	}
}

// advance waits a while for a position, and returns how far the store is.
func (s *Store) advance(position Position) (Position, error) {
	if err := s.enter("wait", nil); err != nil {
		s.guard.RLock()
		defer s.guard.RUnlock()
		if s.closeErr == nil {
			return Position(NoLimit), nil // Closing has flushed all that anybody waits for.
		}
		return 0, s.closeErr
	}
	defer s.leave(nil)
	if _, err := s.waitNative(position, waitMillis); err != nil {
		return 0, err
	}
	return s.durable("wait")
}

// waitNative needs the guard. Whether the position was reached in time.
func (s *Store) waitNative(position Position, millis uint64) (bool, error) {
	var failure C.duramen_error
	status := C.duramen_wait(s.native.root, C.uint64_t(position), C.uint64_t(millis), &failure)
	switch Code(status) {
	case C.DURAMEN_OK:
		return true, nil
	case ErrTimeout:
		return false, nil
	default:
		return false, s.failed("wait", &failure)
	}
}

// wake gives everybody an answer who has one; an error is one for all. Whether somebody is left.
func (w *waiters) wake(durable Position, err error) bool {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for waiter := range w.pending {
		if err != nil || waiter.position <= durable {
			waiter.done <- err
			delete(w.pending, waiter)
		}
	}
	w.watching = len(w.pending) > 0
	return w.watching
}
