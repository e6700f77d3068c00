package duramen_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"duramen.example/duramen"
)

func debugLogger(to io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// threads is how many threads the process has.
func threads(t *testing.T) int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	count, err := strconv.Atoi(string(regexp.MustCompile(`Threads:\s+(\d+)`).FindSubmatch(status)[1]))
	if err != nil {
		t.Fatal(err)
	}
	return count
}

// at runs f in so many goroutines and waits for them.
func at(count int, f func(number int)) {
	var group sync.WaitGroup
	for number := range count {
		group.Add(1)
		go func() {
			defer group.Done()
			f(number)
		}()
	}
	group.Wait()
}

func TestThousandWritersAreNotAThousandThreads(t *testing.T) {
	store := must(duramen.OpenStore(t.TempDir()))(t)
	defer store.Close()
	before := threads(t)
	at(1000, func(number int) {
		log := store.Log(uint64(number))
		for index := uint64(1); index <= 3; index++ {
			if _, err := log.Append(entries(index, index+1, 50)); err != nil {
				t.Error(err)
			}
			if e, err := log.Get(index); err != nil || !bytes.Equal(e.Data, data(index, 50)) {
				t.Error(e, err)
			}
		}
	})
	if after := threads(t); after > before+180 {
		t.Errorf("%d threads before, %d after", before, after)
	}
}

func TestThousandWaitersShareAThread(t *testing.T) {
	log := open(t, t.TempDir())
	position := must(log.Append(entries(1, 2, 10), duramen.Buffered()))(t)
	before, waiting := threads(t), sync.WaitGroup{}
	waiting.Add(1000)
	done := make(chan struct{})
	go func() {
		at(1000, func(int) {
			waiting.Done()
			if err := log.Wait(context.Background(), position); err != nil {
				t.Error(err)
			}
		})
		close(done)
	}()
	waiting.Wait()
	time.Sleep(50 * time.Millisecond)
	if after := threads(t); after > before+20 {
		t.Errorf("%d threads before, %d while a thousand wait", before, after)
	}
	must(log.Sync())(t)
	<-done
}

func TestCloseAnswersWhoWaits(t *testing.T) {
	log := open(t, t.TempDir())
	position := must(log.Append(entries(1, 2, 10), duramen.Buffered()))(t)
	answers := make(chan error)
	for range 10 {
		go func() { answers <- log.Wait(context.Background(), position) }()
	}
	time.Sleep(30 * time.Millisecond)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		// Closing flushed; who came too late is told that the store is closed.
		if err := <-answers; err != nil && !errors.Is(err, duramen.ErrClosed) {
			t.Error(err)
		}
	}
}

func TestCancelledWaitersLeaveTheOthersAlone(t *testing.T) {
	log := open(t, t.TempDir())
	position := must(log.Append(entries(1, 2, 10), duramen.Buffered()))(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancelled, kept := make(chan error), make(chan error)
	go func() { cancelled <- log.Wait(ctx, position) }()
	go func() { kept <- log.Wait(context.Background(), position) }()
	time.Sleep(10 * time.Millisecond)
	cancel()
	if err := <-cancelled; !errors.Is(err, context.Canceled) || !errors.Is(err, duramen.ErrTimeout) {
		t.Error(err)
	}
	must(log.Sync())(t)
	if err := <-kept; err != nil {
		t.Error(err)
	}
}

// Many writers compete for the next index of one log: each index is taken once, and readers only ever see whole entries.
func TestWritersAndReadersOfOneLog(t *testing.T) {
	log := open(t, t.TempDir(), duramen.WithSegmentBytes(64<<10))
	var accepted atomic.Uint64
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Add(1)
		go func() {
			defer readers.Done()
			for {
				next := uint64(1)
				for e, err := range log.All(1) {
					if err != nil || e.Index != next || !bytes.Equal(e.Data, data(next, int(next%100))) {
						t.Errorf("entry %d: %v", next, err)
						return
					}
					next++
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
	}
	at(16, func(int) {
		for range 200 {
			last, _, err := log.Last()
			if err != nil {
				t.Error(err)
				return
			}
			index := last.Index + 1
			_, err = log.Append(entries(index, index+1, int(index%100)), duramen.Buffered())
			switch {
			case err == nil:
				accepted.Add(1)
			case !errors.Is(err, duramen.ErrNotContiguous):
				t.Error(err)
			}
		}
	})
	close(stop)
	readers.Wait()
	same(t, must(log.Count())(t), accepted.Load())
	if accepted.Load() == 0 {
		t.Error("nothing was accepted")
	}
}

// Close at a random moment: every call before it succeeds, every one after it is refused, none crashes, and what was
// acknowledged is there.
func TestCloseWhileEverythingRuns(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		store := must(duramen.OpenStore(dir))(t)
		var acknowledged [8]uint64
		var running sync.WaitGroup
		for number := range acknowledged {
			running.Add(1)
			go func() {
				defer running.Done()
				log := store.Log(uint64(number))
				for index := uint64(1); ; index++ {
					_, err := log.Append(entries(index, index+1, 20), duramen.Buffered())
					if err == nil {
						acknowledged[number] = index
						_, err = log.Get(index)
					}
					if err != nil {
						if !errors.Is(err, duramen.ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			}()
		}
		time.Sleep(time.Duration(rand.IntN(5000)) * time.Microsecond)
		at(3, func(int) {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
		running.Wait()
		again := must(duramen.OpenStore(dir, duramen.WithExclusive(true)))(t)
		for number, count := range acknowledged {
			same(t, must(again.Log(uint64(number)).Count())(t), count)
		}
		again.Close()
	}
}

// The garbage collector runs all the time while handles come and go: a handle that is freed during a call would crash.
func TestHandlesUnderGarbageCollection(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	stop := make(chan struct{})
	var collecting sync.WaitGroup
	collecting.Add(1)
	go func() {
		defer collecting.Done()
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	}()
	dir := t.TempDir()
	for round := range 5 {
		store := must(duramen.OpenStore(dir))(t)
		at(8, func(number int) {
			for i := range 40 {
				group := uint64(number)
				index := uint64(round*40 + i + 1)
				if _, err := store.Log(group).Append(entries(index, index+1, 300), duramen.Buffered()); err != nil {
					t.Error(err)
					return
				}
				read, err := store.Log(group).Read(1, index+1, duramen.NoLimit)
				if err != nil || len(read) != int(index) || !bytes.Equal(read[i].Data, data(uint64(i+1), 300)) {
					t.Errorf("group %d: %d entries, %v", group, len(read), err)
					return
				}
				for range store.Log(group).All(1) {
					break
				}
			}
		})
		store.Log(3).Close()
	}
	close(stop)
	collecting.Wait()
}

type lockedBuffer struct {
	mutex sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) text() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.String()
}

func TestForgottenStoreIsReleasedWithAWarning(t *testing.T) {
	dir, heard := t.TempDir(), new(lockedBuffer)
	func() {
		log := must(duramen.Open(dir, duramen.WithLogger(debugLogger(heard))))(t)
		must(log.Append(entries(1, 2, 10)))(t)
		must(log.Store().Log(5).Append(entries(1, 2, 10)))(t)
	}()
	for deadline := time.Now().Add(20 * time.Second); ; {
		runtime.GC()
		log, err := duramen.Open(dir, duramen.WithExclusive(true))
		if err == nil {
			same(t, must(log.Count())(t), uint64(1))
			log.Close()
			break
		}
		if fails(t, err, duramen.ErrLocked, "open"); time.Now().After(deadline) {
			t.Fatal("a store that nobody can reach is still locked")
		}
		time.Sleep(time.Millisecond)
	}
	if !strings.Contains(heard.text(), "level=WARN msg=\"duramen: a store was never closed") {
		t.Errorf("logged %q", heard.text())
	}
}
