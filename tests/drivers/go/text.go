package main

import (
	"fmt"
	"strconv"
	"strings"

	"duramen.example/duramen"
)

// words splits a line; a quoted word keeps its quotes and spaces.
func words(line string) []string {
	var words []string
	begin, quoted, escaped := 0, false, false
	for at := range len(line) {
		switch sign := line[at]; {
		case escaped:
			escaped = false
		case sign == '\\':
			escaped = true
		case sign == '"':
			quoted = !quoted
		case sign == ' ' && !quoted:
			words = append(words, line[begin:at])
			begin = at + 1
		}
	}
	return append(words, line[begin:])
}

func number(word string) uint64 {
	return must(strconv.ParseUint(word, 10, 64))
}

// optional is a number or `none`.
func optional(word string) duramen.Optional {
	if word == "none" {
		return duramen.Optional{}
	}
	return duramen.Some(number(word))
}

// unquote returns the bytes of a quoted word.
func unquote(word string) []byte {
	data := []byte{}
	for rest := word[1 : len(word)-1]; rest != ""; {
		switch {
		case strings.HasPrefix(rest, `\x`):
			data = append(data, byte(must(strconv.ParseUint(rest[2:4], 16, 8))))
			rest = rest[4:]
		case rest[0] == '\\':
			data = append(data, rest[1])
			rest = rest[2:]
		default:
			data = append(data, rest[0])
			rest = rest[1:]
		}
	}
	return data
}

// quote returns bytes as a quoted word.
func quote(data []byte) string {
	var quoted strings.Builder
	quoted.WriteByte('"')
	for _, sign := range data {
		switch {
		case sign == '\\' || sign == '"':
			quoted.Write([]byte{'\\', sign})
		case sign < 0x20 || sign > 0x7e:
			fmt.Fprintf(&quoted, `\x%02x`, sign)
		default:
			quoted.WriteByte(sign)
		}
	}
	quoted.WriteByte('"')
	return quoted.String()
}

// dataOf is the data of entry index in `driver write`.
func dataOf(index uint64) []byte {
	data := make([]byte, 1+7919*index%300)
	for at := range data {
		data[at] = byte((31*index + 7*uint64(at)) % 256)
	}
	return data
}
