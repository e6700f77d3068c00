package duramen

import "log/slog"

// Option changes how a store is opened.
type Option func(*options)

// options holds what was asked for; nil is the library's default.
type options struct {
	create, exclusive                                     *bool
	segmentBytes, entryBytesMax, batchBytesMax, groupsMax *uint64
	logger                                                *slog.Logger
}

// WithCreate tells whether a missing directory, or an empty one, becomes a new store. True by default.
func WithCreate(create bool) Option {
	return func(o *options) { o.create = &create }
}

// WithExclusive tells whether this opening refuses to share the store with another one of this process. False by default.
func WithExclusive(exclusive bool) Option {
	return func(o *options) { o.exclusive = &exclusive }
}

// WithSegmentBytes sets the size that segments grow to, in bytes: 16 KiB to 1 GiB, rounded up to whole 4 KiB blocks. 64 MiB by
// default.
func WithSegmentBytes(bytes uint64) Option {
	return func(o *options) { o.segmentBytes = &bytes }
}

// WithEntryBytesMax sets the largest data of one entry, in bytes: 1 to 1 GiB. 64 MiB by default.
func WithEntryBytesMax(bytes uint64) Option {
	return func(o *options) { o.entryBytesMax = &bytes }
}

// WithBatchBytesMax sets the largest data of one append, in bytes: 1 to 1 GiB. 256 MiB by default.
func WithBatchBytesMax(bytes uint64) Option {
	return func(o *options) { o.batchBytesMax = &bytes }
}

// WithGroupsMax sets the largest number of groups: 1 to 2^20. 2^20 by default.
func WithGroupsMax(groups uint64) Option {
	return func(o *options) { o.groupsMax = &groups }
}

// WithLogger sets who is told about openings, closings, and stores that were never closed. Nobody by default.
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) { o.logger = logger }
}

func optionsOf(opts []Option) options {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if o.logger == nil {
		o.logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// WriteOption changes how a write is acknowledged.
type WriteOption struct {
	buffered bool
}

// Buffered lets a write return when the operating system has the bytes: readable, and safe against the death of the process,
// but not yet against a power cut. A later durable write or a Sync makes it durable.
func Buffered() WriteOption {
	return WriteOption{buffered: true}
}
