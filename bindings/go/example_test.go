package duramen_test

import (
	"errors"
	"fmt"
	"os"

	"duramen.example/duramen"
)

// One group in a store of its own. What Append has returned for survives a power cut.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "duramen-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	log, err := duramen.Open(dir)
	if err != nil {
		panic(err)
	}
	defer log.Close()

	_, err = log.Append([]duramen.Entry{{Index: 1, Term: 1, Data: []byte("a")}, {Index: 2, Term: 1, Data: []byte("b")}})
	fmt.Println(err)
	_, err = log.Append([]duramen.Entry{{Index: 9, Term: 1}})
	fmt.Println(errors.Is(err, duramen.ErrNotContiguous))
	for entry, err := range log.All(1) {
		fmt.Println(entry.Index, entry.Term, string(entry.Data), err)
	}
	// Output:
	// <nil>
	// true
	// 1 1 a <nil>
	// 2 1 b <nil>
}

// Many groups share the files of one store. Buffered writes are cheap; one Sync makes those of all groups durable.
func ExampleOpenStore() {
	dir, err := os.MkdirTemp("", "duramen-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	store, err := duramen.OpenStore(dir, duramen.WithSegmentBytes(1<<20))
	if err != nil {
		panic(err)
	}
	defer store.Close()

	for _, group := range []uint64{7, 9} {
		if _, err := store.Log(group).Append([]duramen.Entry{{Index: 1, Term: group}}, duramen.Buffered()); err != nil {
			panic(err)
		}
	}
	synced, err := store.Sync()
	fmt.Println(synced, err)
	fmt.Println(store.Log(9).Last())
	// Output:
	// 2 <nil>
	// {1 9} true <nil>
}
