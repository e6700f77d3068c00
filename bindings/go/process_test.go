package duramen_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"duramen.example/duramen"
)

// The test program runs itself with this variable, to hold a store until it is killed.
const holdVariable = "DURAMEN_TEST_HOLD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holdVariable); dir != "" {
		hold(dir)
	}
	os.Exit(m.Run())
}

func hold(dir string) {
	log, err := duramen.Open(dir)
	if err == nil {
		_, err = log.Append(entries(1, 4, 100))
	}
	if err == nil {
		_, err = log.Append(entries(4, 6, 100), duramen.Buffered())
	}
	fmt.Println("held", err)
	for {
		time.Sleep(time.Hour)
	}
}

func TestStoreOfAnotherProcessIsLockedUntilThatIsKilled(t *testing.T) {
	dir := t.TempDir()
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holdVariable+"="+dir)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer holder.Process.Kill()
	line, _ := bufio.NewReader(out).ReadString('\n')
	same(t, line, "held <nil>\n")

	_, err = duramen.Open(dir)
	found := fails(t, err, duramen.ErrLocked, "open")
	if !strings.Contains(found.Message, fmt.Sprintf("process %d", holder.Process.Pid)) {
		t.Errorf("%v does not name process %d", found, holder.Process.Pid)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	holder.Wait()
	same(t, must(open(t, dir).Read(1, 6, duramen.NoLimit))(t), entries(1, 6, 100))
}
