// The Go driver of the tests across languages: reads commands, calls the public API, prints results. The contract is
// tests/README.md.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"duramen.example/duramen"
)

func main() {
	switch arguments := os.Args[1:]; {
	case len(arguments) == 1 && arguments[0] == "script":
		script()
	case len(arguments) == 3 && arguments[0] == "write":
		write(arguments[1], number(arguments[2]))
	case len(arguments) == 2 && arguments[0] == "dump":
		printAll(dump(arguments[1]))
	default:
		fmt.Fprintln(os.Stderr, "usage: driver script | driver write DIR FROM | driver dump DIR")
		os.Exit(2)
	}
}

// printAll prints the lines of a result. Standard output has no buffer here: each line is out when it is printed.
func printAll(lines []string, err error) {
	var failure *duramen.Error
	switch {
	case err == nil:
		for _, line := range lines {
			fmt.Println(line)
		}
	case errors.As(err, &failure):
		fmt.Println("error", failure.Code.String())
	default:
		panic(err)
	}
}

// -- script

func script() {
	var session session
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<30)
	for in.Scan() {
		if line := in.Text(); line != "" && !strings.HasPrefix(line, "#") {
			printAll(session.run(words(line)))
		}
	}
	if in.Err() != nil {
		panic(in.Err())
	}
}

// session is what the commands so far have opened; the log is nil before the first open and after close.
type session struct {
	log *duramen.Log
}

var (
	ok     = []string{"ok"}
	closed = &duramen.Error{Op: "run", Code: duramen.ErrClosed, Message: "no store is open"}
)

func (s *session) run(words []string) ([]string, error) {
	command, arguments := words[0], words[1:]
	if command == "open" {
		store, err := duramen.OpenStore(filepath.Join(os.Getenv("DURAMEN_TEST_DIR"), arguments[0]))
		if err != nil {
			return nil, err
		}
		s.log = store.Log(0)
		return ok, nil
	}
	if s.log == nil {
		return nil, closed
	}
	switch command {
	case "log":
		s.log = s.log.Store().Log(number(arguments[0]))
		return ok, nil
	case "append":
		_, err := s.log.Append(parseEntries(arguments))
		return ok, err
	case "append_buffered":
		_, err := s.log.Append(parseEntries(arguments), duramen.Buffered())
		return ok, err
	case "read":
		return entries(s.log, number(arguments[0]), number(arguments[1]))
	case "bounds":
		return bounds(s.log)
	case "set_hard_state":
		state := duramen.HardState{Term: number(arguments[0]), Vote: optional(arguments[1]), Commit: optional(arguments[2])}
		_, err := s.log.SetHardState(state)
		return ok, err
	case "hard_state":
		return hardState(s.log)
	case "sync":
		_, err := s.log.Sync()
		return ok, err
	case "close":
		err := s.log.Close()
		s.log = nil
		return ok, err
	default:
		panic(fmt.Sprintf("not a command: %q", words))
	}
}

func parseEntries(words []string) []duramen.Entry {
	var parsed []duramen.Entry
	for ; len(words) > 0; words = words[2:] {
		index, term, _ := strings.Cut(words[0], "@")
		parsed = append(parsed, duramen.Entry{Index: number(index), Term: number(term), Data: unquote(words[1])})
	}
	return parsed
}

func bounds(log *duramen.Log) ([]string, error) {
	bounds, present, err := log.Bounds()
	if !present {
		return []string{"bounds none"}, err
	}
	return []string{fmt.Sprintf("bounds %d..%d", bounds.First, bounds.Next)}, err
}

func entries(log *duramen.Log, from, to uint64) ([]string, error) {
	read, err := log.Read(from, to, duramen.NoLimit)
	var lines []string
	for _, entry := range read {
		lines = append(lines, fmt.Sprintf("%d@%d %s", entry.Index, entry.Term, quote(entry.Data)))
	}
	return lines, err
}

func hardState(log *duramen.Log) ([]string, error) {
	state, present, err := log.HardState()
	if !present {
		return []string{"hard_state none"}, err
	}
	return []string{fmt.Sprintf("hard_state term=%d vote=%s commit=%s", state.Term, state.Vote, state.Commit)}, err
}

// -- write and dump

func write(dir string, from uint64) {
	log := must(duramen.Open(dir))
	for index := from; ; index++ {
		term := 1 + index/100
		fmt.Println("try", index)
		must(log.Append([]duramen.Entry{{Index: index, Term: term, Data: dataOf(index)}}))
		fmt.Println("ack", index)
		if index%10 == 0 {
			fmt.Println("try_state", index)
			state := duramen.HardState{Term: term, Vote: duramen.Some(index), Commit: duramen.Some(index - 1)}
			must(log.SetHardState(state))
			fmt.Println("ack_state", index)
		}
	}
}

func dump(dir string) (lines []string, err error) {
	log, err := duramen.Open(dir)
	if err != nil {
		return nil, err
	}
	whole, _, err := log.Bounds()
	for _, part := range []func() ([]string, error){
		func() ([]string, error) { return bounds(log) },
		func() ([]string, error) { return entries(log, whole.First, whole.Next) },
		func() ([]string, error) { return hardState(log) },
	} {
		if err == nil {
			var more []string
			more, err = part()
			lines = append(lines, more...)
		}
	}
	return lines, errors.Join(err, log.Close())
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
