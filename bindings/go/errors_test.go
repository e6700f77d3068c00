package duramen_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"duramen.example/duramen"
)

// The header that belongs to the library this package is linked with.
const headerPath = "internal/native/lib/linux_amd64/duramen.h"

func header(t *testing.T) string {
	text, err := os.ReadFile(headerPath)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestCodesAreThoseOfTheHeader(t *testing.T) {
	_, statuses, _ := strings.Cut(header(t), "#define DURAMEN_OK 0\n")
	statuses, _, found := strings.Cut(statuses, "#define DURAMEN_DURABLE")
	if !found {
		t.Fatal("the header does not have the statuses between DURAMEN_OK and DURAMEN_DURABLE")
	}
	numbers := map[int]string{}
	for _, match := range regexp.MustCompile(`(?m)^#define DURAMEN_(\w+) (\d+)$`).FindAllStringSubmatch(statuses, -1) {
		number, err := strconv.Atoi(match[2])
		if err != nil {
			t.Fatal(err)
		}
		numbers[number] = strings.ToLower(match[1])
	}
	if len(numbers) < 19 {
		t.Fatalf("the header has only %d statuses: %v", len(numbers), numbers)
	}
	for number := -1; number < 1000; number++ {
		want, known := numbers[number]
		if !known {
			want = "unknown"
		}
		if got := duramen.Code(number).String(); got != want {
			t.Errorf("code %d is %s here, %s in the header", number, got, want)
		}
	}
}

func TestVersionIsThatOfTheHeader(t *testing.T) {
	if !strings.Contains(header(t), fmt.Sprintf("#define DURAMEN_VERSION %q\n", duramen.Version)) {
		t.Errorf("the header does not have version %s", duramen.Version)
	}
}

func TestSentinelsMatchTheirCodeOnly(t *testing.T) {
	err := fmt.Errorf("outer: %w", &duramen.Error{Op: "read", Path: "d", Code: duramen.ErrCompacted, Message: "m"})
	if !errors.Is(err, duramen.ErrCompacted) || errors.Is(err, duramen.ErrHole) {
		t.Error(err)
	}
	if err.Error() != "outer: duramen: read d: m" || duramen.ErrNotFound.Error() != "duramen: not found" {
		t.Errorf("%v, %v", err, duramen.ErrNotFound)
	}
}
