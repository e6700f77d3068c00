package duramen_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"duramen.example/duramen"
)

// open opens the store in a directory; the test closes it.
func open(t *testing.T, dir string, opts ...duramen.Option) *duramen.Log {
	t.Helper()
	log, err := duramen.Open(dir, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log
}

func entry(index, term uint64, data string) duramen.Entry {
	return duramen.Entry{Index: index, Term: term, Data: []byte(data)}
}

// entries makes entries first to next, of so many bytes each.
func entries(first, next uint64, size int) []duramen.Entry {
	var made []duramen.Entry
	for index := first; index < next; index++ {
		made = append(made, duramen.Entry{Index: index, Term: 1 + index/10, Kind: uint8(index), Data: data(index, size)})
	}
	return made
}

func data(index uint64, size int) []byte {
	made := make([]byte, size)
	for i := range made {
		made[i] = byte(index*31 + uint64(i)*7)
	}
	return made
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// fails checks code, operation and path of an error.
func fails(t *testing.T, err error, code duramen.Code, op string) *duramen.Error {
	t.Helper()
	var found *duramen.Error
	if !errors.Is(err, code) || !errors.As(err, &found) || found.Code != code || found.Op != op {
		t.Fatalf("got error %v, expected %s of %s", err, code, op)
	}
	return found
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v, expected %v", got, want)
	}
}

func TestWhatWasAppendedIsReadBackAfterReopening(t *testing.T) {
	dir, written := t.TempDir(), entries(1, 100, 17)
	written[3].Data = []byte{}
	log := open(t, dir, duramen.WithSegmentBytes(16<<10))
	must(log.Append(written[:40]))(t)
	must(log.Append(written[40:], duramen.Buffered()))(t)
	for range 2 {
		same(t, must(log.Read(1, 100, duramen.NoLimit))(t), written)
		same(t, must(log.Get(99))(t), written[98])
		bounds, ok, err := log.Bounds()
		same(t, []any{bounds, ok, err}, []any{duramen.Bounds{First: 1, Next: 100}, true, nil})
		last, ok, err := log.Last()
		same(t, []any{last, ok, err}, []any{duramen.EntryID{Index: 99, Term: 10}, true, nil})
		same(t, must(log.Term(42))(t), uint64(5))
		same(t, must(log.Count())(t), uint64(99))
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		log = open(t, dir, duramen.WithSegmentBytes(16<<10))
	}
}

func TestUntouchedLogHasNothingAndNothingIsNotZero(t *testing.T) {
	log := open(t, t.TempDir())
	_, hasBounds, _ := log.Bounds()
	_, hasLast, _ := log.Last()
	_, hasState, _ := log.HardState()
	same(t, []any{hasBounds, hasLast, hasState, must(log.Count())(t)}, []any{false, false, false, uint64(0)})
	same(t, must(log.Read(5, 5, 0))(t), []duramen.Entry{})
	for range log.All(0) {
		t.Fatal("an untouched log has an entry")
	}
	must(log.Append([]duramen.Entry{entry(0, 0, "zero")}))(t)
	same(t, must(log.Get(0))(t), entry(0, 0, "zero"))
	must(log.Append(nil))(t)
}

func TestHardStateKeepsWhatIsAbsent(t *testing.T) {
	dir := t.TempDir()
	for _, state := range []duramen.HardState{
		{},
		{Term: 3, Vote: duramen.Some(0)},
		{Term: math.MaxUint64, Commit: duramen.Some(9)},
		{Term: 4, Vote: duramen.Some(math.MaxUint64), Commit: duramen.Some(0)},
	} {
		log := open(t, dir)
		must(log.SetHardState(state))(t)
		found, ok, err := log.HardState()
		same(t, []any{found, ok, err}, []any{state, true, nil})
		log.Close()
		found, ok, err = open(t, dir).HardState()
		same(t, []any{found, ok, err}, []any{state, true, nil})
	}
	same(t, fmt.Sprint(duramen.Some(7), duramen.Optional{}), "7 none")
}

func TestGroupsOfAStoreAreSeparate(t *testing.T) {
	store := must(duramen.OpenStore(t.TempDir()))(t)
	defer store.Close()
	must(store.Log(7).Append([]duramen.Entry{entry(1, 1, "seven")}))(t)
	must(store.Log(math.MaxUint64).Append([]duramen.Entry{entry(5, 2, "last")}))(t)
	same(t, must(store.Log(7).Get(1))(t), entry(1, 1, "seven"))
	same(t, must(store.Log(math.MaxUint64).Get(5))(t), entry(5, 2, "last"))
	same(t, must(store.Log(0).Count())(t), uint64(0))
	same(t, store.Log(7).Group(), uint64(7))
	same(t, store.Log(7).Store(), store)
}

// The limit is compared with what a plain loop over all entries gives, around every size at which buffers grow.
func TestReadStopsAtTheLimitAndNeverBeforeTheFirstEntry(t *testing.T) {
	for _, size := range []int{0, 1, 100, 16<<10 - 1, 16 << 10, 16<<10 + 1, 300 << 10} {
		count := uint64(min(2000, 1+(2<<20)/max(size, 1)))
		log, written := open(t, t.TempDir()), entries(1, count+1, size)
		must(log.Append(written, duramen.Buffered()))(t)
		for _, limit := range []uint64{0, 1, 99, 100, 16 << 10, 16<<10 + 1, 256 << 10, 1 << 20, duramen.NoLimit} {
			for _, hi := range []uint64{2, 128, 129, 130, count + 1} {
				hi = min(hi, count+1)
				want, bytes := uint64(0), uint64(0)
				for ; want < hi-1; want++ {
					if want > 0 && (bytes >= limit || bytes+uint64(size) > limit) {
						break
					}
					bytes += uint64(size)
				}
				got := must(log.Read(1, hi, limit))(t)
				if !reflect.DeepEqual(got, written[:want]) {
					t.Fatalf("%d entries of %d bytes, to %d, limit %d: got %d, expected %d", count, size, hi, limit, len(got), want)
				}
			}
		}
		log.Close()
	}
}

func TestDataOfReadEntriesDoesNotOverlap(t *testing.T) {
	log := open(t, t.TempDir())
	must(log.Append(entries(1, 4, 8)))(t)
	read := must(log.Read(1, 4, duramen.NoLimit))(t)
	_ = append(read[0].Data, "more than there is room for"...)
	read[1].Data[0]++
	same(t, read[2].Data, data(3, 8))
	same(t, must(log.Get(2))(t).Data, data(2, 8))
}

func TestAllGoesToTheEndAndStopsWhenAsked(t *testing.T) {
	log, written := open(t, t.TempDir()), entries(1, 301, 10_000)
	must(log.Append(written[:150]))(t)
	must(log.Append(written[150:]))(t)
	var read []duramen.Entry
	for e, err := range log.All(5) {
		if err != nil {
			t.Fatal(err)
		}
		if read = append(read, e); e.Index == 300 && len(read) == 296 {
			must(log.Append(entries(301, 302, 1)))(t) // The loop sees it.
		}
	}
	same(t, read, append(written[4:], entries(301, 302, 1)...))
	for range log.All(1) {
		break
	}
	for range log.All(302) {
		t.Fatal("there is nothing behind the end")
	}
}

func TestAllYieldsTheErrorOnce(t *testing.T) {
	log := open(t, t.TempDir())
	must(log.Append([]duramen.Entry{entry(5, 1, "first")}))(t)
	var found []error
	for _, err := range log.All(1) {
		found = append(found, err)
	}
	same(t, len(found), 1)
	fails(t, found[0], duramen.ErrHole, "read")
}

func TestRefusedWritesNameWhatIsWrongAndChangeNothing(t *testing.T) {
	dir := t.TempDir()
	log := open(t, dir, duramen.WithEntryBytesMax(10), duramen.WithBatchBytesMax(15), duramen.WithGroupsMax(1))
	must(log.Append([]duramen.Entry{entry(3, 1, "three")}))(t)
	for _, refused := range []struct {
		entries []duramen.Entry
		code    duramen.Code
		message string
	}{
		{[]duramen.Entry{entry(5, 1, "gap")}, duramen.ErrNotContiguous, "expected index 4, got 5"},
		{[]duramen.Entry{entry(3, 1, "overlap")}, duramen.ErrNotContiguous, "expected index 4, got 3"},
		{[]duramen.Entry{entry(4, 1, "a"), entry(6, 1, "b")}, duramen.ErrNotContiguous, "expected index 5, got 6"},
		{[]duramen.Entry{entry(4, 1, "eleven char")}, duramen.ErrTooLarge, "11"},
		{[]duramen.Entry{entry(4, 1, "12345678"), entry(5, 1, "12345678")}, duramen.ErrTooLarge, "16"},
		{[]duramen.Entry{entry(math.MaxUint64, 1, "reserved")}, duramen.ErrInvalidArgument, "2^64-1"},
	} {
		_, err := log.Append(refused.entries)
		found := fails(t, err, refused.code, "append")
		if !strings.Contains(found.Message, refused.message) || found.Path != dir {
			t.Errorf("%v: does not say %q", found, refused.message)
		}
		same(t, err.Error(), "duramen: append "+dir+": "+found.Message)
	}
	_, err := log.Store().Log(1).Append([]duramen.Entry{entry(1, 1, "group")})
	fails(t, err, duramen.ErrTooLarge, "append")
	same(t, must(log.Count())(t), uint64(1))
}

func TestReadsNameTheIndexThatIsNotThere(t *testing.T) {
	log := open(t, t.TempDir())
	_, err := log.Get(1)
	fails(t, err, duramen.ErrNotFound, "get")
	must(log.Append([]duramen.Entry{entry(3, 1, "three")}))(t)
	_, err = log.Get(2)
	fails(t, err, duramen.ErrHole, "get")
	_, err = log.Get(4)
	fails(t, err, duramen.ErrNotFound, "get")
	_, err = log.Get(math.MaxUint64)
	fails(t, err, duramen.ErrInvalidArgument, "get")
	_, err = log.Read(3, 5, duramen.NoLimit)
	fails(t, err, duramen.ErrNotFound, "read")
	_, err = log.Term(4)
	fails(t, err, duramen.ErrNotFound, "term")
	same(t, must(log.Read(5, 3, duramen.NoLimit))(t), []duramen.Entry{})
}

func TestOpeningFailsByName(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, failing := range []struct {
		dir     string
		option  duramen.Option
		code    duramen.Code
		missing bool
	}{
		{file, duramen.WithCreate(true), duramen.ErrNotAStore, false},
		{filepath.Join(dir, "missing"), duramen.WithCreate(false), duramen.ErrNotAStore, true},
		{filepath.Join(dir, "no", "parent"), duramen.WithCreate(true), duramen.ErrIO, true},
		{filepath.Join(dir, "a"), duramen.WithSegmentBytes(1), duramen.ErrInvalidArgument, true},
		{filepath.Join(dir, "a"), duramen.WithGroupsMax(0), duramen.ErrInvalidArgument, true},
		{dir + "/a\x00b", duramen.WithCreate(true), duramen.ErrInvalidArgument, false},
	} {
		_, err := duramen.Open(failing.dir, failing.option)
		fails(t, err, failing.code, "open")
		same(t, errors.Is(err, fs.ErrNotExist), failing.missing)
	}
}

func TestOpeningTwiceSharesUnlessExclusive(t *testing.T) {
	dir := t.TempDir()
	first, second := open(t, dir), open(t, dir)
	must(first.Append([]duramen.Entry{entry(1, 1, "shared")}))(t)
	same(t, must(second.Get(1))(t), entry(1, 1, "shared"))
	_, err := duramen.Open(dir, duramen.WithExclusive(true))
	fails(t, err, duramen.ErrLocked, "open")
	_, err = duramen.Open(dir, duramen.WithSegmentBytes(1<<20))
	fails(t, err, duramen.ErrOptionsConflict, "open")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	must(second.Append([]duramen.Entry{entry(2, 1, "goes on")}))(t)
}

func TestAfterCloseEveryCallAnswersClosed(t *testing.T) {
	store := must(duramen.OpenStore(t.TempDir()))(t)
	log := store.Log(3)
	position := must(log.Append([]duramen.Entry{entry(1, 1, "a")}))(t)
	for range 3 {
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, log := range []*duramen.Log{log, store.Log(3), store.Log(4)} {
		for op, call := range map[string]func() error{
			"append":         func() error { _, err := log.Append(nil); return err },
			"read":           func() error { _, err := log.Read(1, 2, 0); return err },
			"get":            func() error { _, err := log.Get(1); return err },
			"bounds":         func() error { _, _, err := log.Bounds(); return err },
			"last":           func() error { _, _, err := log.Last(); return err },
			"term":           func() error { _, err := log.Term(1); return err },
			"count":          func() error { _, err := log.Count(); return err },
			"hard state":     func() error { _, _, err := log.HardState(); return err },
			"set hard state": func() error { _, err := log.SetHardState(duramen.HardState{}); return err },
			"sync":           func() error { _, err := log.Sync(); return err },
			"durable":        func() error { _, err := log.Durable(); return err },
			"wait":           func() error { return log.Wait(context.Background(), position) },
		} {
			fails(t, call(), duramen.ErrClosed, op)
		}
		for _, err := range log.All(0) {
			fails(t, err, duramen.ErrClosed, "bounds")
		}
		same(t, log.Close(), nil)
	}
}

func TestBufferedWritesBecomeDurableBySync(t *testing.T) {
	log := open(t, t.TempDir())
	first := must(log.Append(entries(1, 2, 10)))(t)
	same(t, must(log.Durable())(t), first)
	second := must(log.Append(entries(2, 3, 10), duramen.Buffered()))(t)
	if second <= first || must(log.Durable())(t) >= second {
		t.Fatalf("positions %d, %d; durable %d", first, second, must(log.Durable())(t))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	err := log.Wait(ctx, second)
	if fails(t, err, duramen.ErrTimeout, "wait"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	same(t, must(log.Sync())(t), second)
	same(t, log.Wait(ctx, second), nil) // Already reached: the context is not looked at.
	fails(t, log.Wait(context.Background(), second+1), duramen.ErrInvalidArgument, "wait")
}

func TestLoggerHearsOfOpeningAndClosing(t *testing.T) {
	var text bytes.Buffer
	log := open(t, t.TempDir(), duramen.WithLogger(debugLogger(&text)))
	log.Close()
	lines := slices.Collect(strings.Lines(text.String()))
	if len(lines) != 2 || !strings.Contains(lines[0], "duramen: opened") || !strings.Contains(lines[1], "duramen: closed") {
		t.Fatalf("logged %q", lines)
	}
}
