// Package linux_amd64 is the folder of the static library for linux/amd64. It has this file so that `go mod vendor` takes the
// folder along. `make go-native` puts three files beside it, which git ignores: libduramen.a, the duramen.h that belongs to
// it, and stamp.go with the hash of both, which makes a new library visible to the Go build cache.
package linux_amd64
