//go:build linux && amd64

package duramen

// The static library lies in internal/native/lib. cgo does not notice when an archive changes, so the folder is a Go package
// whose generated file stamp.go has the library's hash: a new hash is a new package, and everything above it is linked again.

/*
#cgo CFLAGS: -I${SRCDIR}/internal/native/lib/linux_amd64
#cgo LDFLAGS: ${SRCDIR}/internal/native/lib/linux_amd64/libduramen.a -lutil -lrt -lpthread -lm -ldl
#cgo noescape duramen_abi_version
#cgo nocallback duramen_abi_version
#cgo noescape duramen_options_new
#cgo nocallback duramen_options_new
#cgo noescape duramen_options_free
#cgo nocallback duramen_options_free
#cgo noescape duramen_options_set_create
#cgo nocallback duramen_options_set_create
#cgo noescape duramen_options_set_exclusive
#cgo nocallback duramen_options_set_exclusive
#cgo noescape duramen_options_set_segment_bytes
#cgo nocallback duramen_options_set_segment_bytes
#cgo noescape duramen_options_set_entry_bytes_max
#cgo nocallback duramen_options_set_entry_bytes_max
#cgo noescape duramen_options_set_batch_bytes_max
#cgo nocallback duramen_options_set_batch_bytes_max
#cgo noescape duramen_options_set_groups_max
#cgo nocallback duramen_options_set_groups_max
#cgo noescape duramen_store_open
#cgo nocallback duramen_store_open
#cgo noescape duramen_store_log
#cgo nocallback duramen_store_log
#cgo noescape duramen_store_close
#cgo nocallback duramen_store_close
#cgo noescape duramen_store_free
#cgo nocallback duramen_store_free
#cgo noescape duramen_log_free
#cgo nocallback duramen_log_free
#cgo noescape duramen_bounds
#cgo nocallback duramen_bounds
#cgo noescape duramen_last
#cgo nocallback duramen_last
#cgo noescape duramen_term
#cgo nocallback duramen_term
#cgo noescape duramen_count
#cgo nocallback duramen_count
#cgo noescape duramen_sync
#cgo nocallback duramen_sync
#cgo noescape duramen_durable
#cgo nocallback duramen_durable
#cgo noescape duramen_wait
#cgo nocallback duramen_wait
#cgo noescape duramen_append_refs
#cgo nocallback duramen_append_refs
#cgo noescape duramen_read_into
#cgo nocallback duramen_read_into
#cgo noescape duramen_set_hard_state
#cgo nocallback duramen_set_hard_state
#cgo noescape duramen_get_hard_state
#cgo nocallback duramen_get_hard_state
#include "native.h"
*/
import "C"

import _ "duramen.example/duramen/internal/native/lib/linux_amd64"
