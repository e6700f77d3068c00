//go:build !cgo || !linux || !amd64

package duramen

// Where this file is compiled, the rest of the package cannot be; the next line makes the compiler say so.
var _ int = "duramen needs cgo (CGO_ENABLED=1 and a C compiler) on linux/amd64"
