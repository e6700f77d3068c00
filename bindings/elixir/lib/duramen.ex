defmodule Duramen do
  @moduledoc """
  The durable log under a Raft node.

      iex> {:ok, log} = Duramen.open(new_dir())
      iex> {:ok, 3} = Duramen.append(log, [{1, "a"}, {1, "b"}, {1, "c"}])
      iex> {:ok, [%Duramen.Entry{index: 2, data: "b"}, %Duramen.Entry{index: 3}]} = Duramen.read(log, 2..3)
      iex> :ok = Duramen.set_hard_state(log, %Duramen.HardState{term: 1, vote: 2})
      iex> Duramen.close(log)
      :ok

  (In the examples `new_dir()` is a path where nothing is yet.)

  A log keeps the entries of one Raft group, and its `Duramen.HardState`. `open/2` is the short form for a store with
  one group; `Duramen.Store` has one log per group over the same files. A handle may be used by any number of processes
  at once, and lives as long as any of them refers to it.

  ## Durability

  A write is durable when it returns: it survives a power cut. With `durability: :buffered` it returns when the operating
  system has the bytes, so that they survive the end of the VM, however sudden. A later durable write, or `sync/1`, makes
  it durable. What was written by one call is there as a whole after a crash, or not at all.

  A process that is killed in the middle of a write does not stop the write: it is there as a whole, or not at all, and may
  come in after the process is gone.

  ## Answers

  Functions answer `:ok`, `{:ok, value}` or `{:error, error}` with a `Duramen.Error`; each has a variant with `!` that
  returns the value, or raises the error. An argument of the wrong type raises `ArgumentError` or `FunctionClauseError`.
  An index, a term or a group is a number from 0 to 2^64-1, but the highest index is 2^64-2; `nil` stands for what is not
  there.

  What may touch the disk runs on the VM's dirty I/O schedulers. Their number, ten unless `erl +SDio` says otherwise, is
  how many such calls go on at once.
  """

  alias Duramen.{Arguments, Entry, Error, HardState, Native, Store}
  import Duramen.Arguments, only: [is_u64: 1]

  @enforce_keys [:handle, :group]
  @derive {Inspect, only: [:group]}
  defstruct [:handle, :group]

  @typedoc "A handle of the log of one group. Any process may use it; what is in it is private."
  @type t :: %__MODULE__{handle: reference, group: group}

  @typedoc "The number of a Raft group, 0 to 2^64-1."
  @type group :: non_neg_integer

  @typedoc "The place of an entry in its log, 0 to 2^64-2."
  @type index :: non_neg_integer

  @typedoc "A Raft term, 0 to 2^64-1."
  @type term_number :: non_neg_integer

  @typedoc "How far a store has come: a number that grows with every write to any of its logs, while it stays open."
  @type position :: non_neg_integer

  @typedoc "When a write returns: `:durable`, the default, or `:buffered`."
  @type write_option :: {:durability, :durable | :buffered}

  @typedoc "Where a read stops before the end of its range; never before the first entry."
  @type limit :: {:bytes, non_neg_integer} | {:entries, non_neg_integer} | :none

  @page {:bytes, 1_048_576}

  # -- opening

  @doc """
  Opens the store in `dir`, creating it if it is missing or empty, and returns the log of group 0.

  The options are those of `Duramen.Store.open/2`. Where the store is open in this VM already, it is shared.
  """
  @spec open(Path.t(), [Store.option()]) :: {:ok, t} | {:error, Error.t()}
  def open(dir, opts \\ []) do
    with {:ok, store} <- Store.open(dir, opts), do: {:ok, Store.log(store, 0)}
  end

  @doc "As `open/2`, raising `Duramen.Error`."
  @spec open!(Path.t(), [Store.option()]) :: t
  def open!(dir, opts \\ []), do: Error.unwrap!(open(dir, opts))

  # -- writing

  @doc """
  Appends entries behind the last one, all of them or none, and returns the index of the last one, `nil` for an empty
  list.

  Entries are `{term, data}`, or `Duramen.Entry` without an index, which get the next indexes; a log without any starts
  at 1. Any number of processes may do so at once. Or they are `Duramen.Entry` with indexes: the first must be the next
  one (any, in an empty log) and the others must follow without a gap, else the answer is `:not_contiguous` and nothing
  was written.

      iex> log = Duramen.open!(new_dir())
      iex> Duramen.append(log, [{1, "a"}, {1, ["iodata", ?!]}])
      {:ok, 2}
      iex> Duramen.append(log, [%Duramen.Entry{index: 3, term: 2, kind: 7, data: "c"}], durability: :buffered)
      {:ok, 3}
      iex> {:error, error} = Duramen.append(log, [%Duramen.Entry{index: 5, term: 2, data: "e"}])
      iex> error.code
      :not_contiguous
      iex> Exception.message(error)
      "group 0: not contiguous: expected index 4, got 5"
  """
  @spec append(t, [{term_number, iodata} | Entry.t()], [write_option]) :: {:ok, index | nil} | {:error, Error.t()}
  def append(log, entries, opts \\ [])

  def append(%__MODULE__{handle: handle, group: group}, entries, opts) when is_list(entries) do
    durable = Arguments.durable?(opts)

    case Arguments.entries(entries) do
      {:append, entries} -> Native.append(handle, group, entries, durable)
      {:append_next, entries} -> Native.append_next(handle, group, entries, durable)
      {:error, error} -> {:error, error}
    end
  end

  @doc "As `append/3`, raising `Duramen.Error`."
  @spec append!(t, [{term_number, iodata} | Entry.t()], [write_option]) :: index | nil
  def append!(log, entries, opts \\ []), do: Error.unwrap!(append(log, entries, opts))

  @doc """
  Sets the hard state; the last one wins.

      iex> log = Duramen.open!(new_dir())
      iex> Duramen.hard_state(log)
      {:ok, nil}
      iex> Duramen.set_hard_state(log, %Duramen.HardState{term: 3, vote: 0})
      :ok
      iex> Duramen.hard_state(log)
      {:ok, %Duramen.HardState{term: 3, vote: 0, commit: nil}}
  """
  @spec set_hard_state(t, HardState.t(), [write_option]) :: :ok | {:error, Error.t()}
  def set_hard_state(%__MODULE__{handle: handle, group: group}, %HardState{} = state, opts \\ []) do
    durable = Arguments.durable?(opts)

    case state do
      %{term: term} when not is_u64(term) -> Arguments.refuse(term, "term")
      %{vote: vote} when vote != nil and not is_u64(vote) -> Arguments.refuse(vote, "vote")
      %{commit: commit} when commit != nil and not is_u64(commit) -> Arguments.refuse(commit, "commit")
      _ -> Native.set_hard_state(handle, group, state, durable)
    end
  end

  @doc "As `set_hard_state/3`, raising `Duramen.Error`."
  @spec set_hard_state!(t, HardState.t(), [write_option]) :: :ok
  def set_hard_state!(log, state, opts \\ []), do: Error.unwrap!(set_hard_state(log, state, opts))

  # -- reading entries

  @doc """
  The entry at `index`.

  `:not_found` at or past the end of the log, `:hole` below its end where no entry is.

      iex> log = Duramen.open!(new_dir())
      iex> Duramen.append!(log, [{1, "a"}])
      iex> Duramen.get(log, 1)
      {:ok, %Duramen.Entry{index: 1, term: 1, kind: 0, data: "a"}}
  """
  @spec get(t, index) :: {:ok, Entry.t()} | {:error, Error.t()}
  def get(%__MODULE__{handle: handle, group: group}, index) when is_u64(index), do: Native.get(handle, group, index)
  def get(%__MODULE__{}, index), do: Arguments.refuse(index, "index")

  @doc "As `get/2`, raising `Duramen.Error`."
  @spec get!(t, index) :: Entry.t()
  def get!(log, index), do: Error.unwrap!(get(log, index))

  @doc """
  The entries of a range, without a gap; as everywhere in Elixir `first..last` includes `last`.

  Every index must be there, up to where the limit stops the read: an index that is not is an error that names it. The
  `:limit` is `{:bytes, n}`, `{:entries, n}` or `:none`, and 16 MiB if it is not given; at least one entry is returned,
  unless the range is empty. To read on, start behind the last entry that was returned; `stream/3` does.

      iex> log = Duramen.open!(new_dir())
      iex> Duramen.append!(log, [{1, "a"}, {1, "b"}, {2, "c"}])
      iex> for entry <- Duramen.read!(log, 1..3, limit: {:entries, 2}), do: {entry.index, entry.data}
      [{1, "a"}, {2, "b"}]
  """
  @spec read(t, Range.t(), limit: limit) :: {:ok, [Entry.t()]} | {:error, Error.t()}
  def read(%__MODULE__{handle: handle, group: group}, range, opts \\ []) do
    limit = Arguments.limit(Keyword.validate!(opts, limit: :default)[:limit])
    with {:ok, {from, to}} <- Arguments.bounds_of(range), do: Native.read(handle, group, from, to, limit)
  end

  @doc "As `read/3`, raising `Duramen.Error`."
  @spec read!(t, Range.t(), limit: limit) :: [Entry.t()]
  def read!(log, range, opts \\ []), do: Error.unwrap!(read(log, range, opts))

  @doc """
  The entries of a range, or from an index up to the end of the log, or all of them, read lazily in pages.

  Without the end of a range the stream ends when it has caught up with the log, entries included that were appended
  while it was read. The `:limit` is that of one page, 1 MiB if it is not given. Errors are raised as `Duramen.Error`.

      iex> log = Duramen.open!(new_dir())
      iex> Duramen.append!(log, [{1, "a"}, {1, "b"}, {2, "c"}])
      iex> log |> Duramen.stream(2) |> Enum.map(& &1.data)
      ["b", "c"]
      iex> log |> Duramen.stream() |> Stream.filter(&(&1.term == 1)) |> Enum.count()
      2
  """
  @spec stream(t, index | Range.t() | nil, limit: limit) :: Enumerable.t()
  def stream(%__MODULE__{} = log, from \\ nil, opts \\ []) do
    limit = Arguments.limit(Keyword.validate!(opts, limit: @page)[:limit])

    {start, last} =
      case from do
        nil -> {fn -> first(log) end, fn -> last_index(log) end}
        index when is_u64(index) -> {fn -> index end, fn -> last_index(log) end}
        first..last//1 when is_u64(first) -> {fn -> first end, fn -> last end}
        other -> raise ArgumentError, "expected an index or a range with step 1, got: #{inspect(other)}"
      end

    Stream.resource(start, &next_page(log, &1, last.(), limit), fn _ -> :ok end)
  end

  defp next_page(_, next, last, _) when next > last, do: {:halt, next}

  defp next_page(log, next, last, limit) do
    page = read!(log, next..last//1, limit: limit)
    {page, List.last(page).index + 1}
  end

  defp first(log), do: (bounds!(log) || 0..-1//1).first
  defp last_index(log), do: (bounds!(log) || 0..-1//1).last

  # -- from memory

  @doc """
  From the first index to the last one, as a range; `nil` while nothing is there. From memory.

      iex> log = Duramen.open!(new_dir())
      iex> Duramen.bounds(log)
      {:ok, nil}
      iex> Duramen.append!(log, [{1, "a"}, {1, "b"}])
      iex> {:ok, first..last} = Duramen.bounds(log)
      iex> {first, last}
      {1, 2}

  The next index is the one behind the last. A log that knows its next index and holds no entry has an empty range.
  """
  @spec bounds(t) :: {:ok, Range.t() | nil} | {:error, Error.t()}
  def bounds(%__MODULE__{handle: handle, group: group}) do
    with {:ok, {first, next}} <- Native.bounds(handle, group), do: {:ok, first..(next - 1)//1}
  end

  @doc "As `bounds/1`, raising `Duramen.Error`."
  @spec bounds!(t) :: Range.t() | nil
  def bounds!(log), do: Error.unwrap!(bounds(log))

  @doc """
  Index and term of the last entry; `nil` while there is none. From memory.

      iex> log = Duramen.open!(new_dir())
      iex> Duramen.append!(log, [{1, "a"}, {4, "b"}])
      iex> Duramen.last(log)
      {:ok, {2, 4}}
  """
  @spec last(t) :: {:ok, {index, term_number} | nil} | {:error, Error.t()}
  def last(%__MODULE__{handle: handle, group: group}), do: Native.last(handle, group)

  @doc "As `last/1`, raising `Duramen.Error`."
  @spec last!(t) :: {index, term_number} | nil
  def last!(log), do: Error.unwrap!(last(log))

  @doc "The term of the entry at `index`; errors as `get/2`. From memory."
  @spec term(t, index) :: {:ok, term_number} | {:error, Error.t()}
  def term(%__MODULE__{handle: handle, group: group}, index) when is_u64(index), do: Native.term(handle, group, index)
  def term(%__MODULE__{}, index), do: Arguments.refuse(index, "index")

  @doc "As `term/2`, raising `Duramen.Error`."
  @spec term!(t, index) :: term_number
  def term!(log, index), do: Error.unwrap!(term(log, index))

  @doc "How many entries there are. From memory."
  @spec count(t) :: {:ok, non_neg_integer} | {:error, Error.t()}
  def count(%__MODULE__{handle: handle, group: group}), do: Native.count(handle, group)

  @doc "As `count/1`, raising `Duramen.Error`."
  @spec count!(t) :: non_neg_integer
  def count!(log), do: Error.unwrap!(count(log))

  @doc "The hard state; `nil` if it was never set, which is not the same as zero. From memory."
  @spec hard_state(t) :: {:ok, HardState.t() | nil} | {:error, Error.t()}
  def hard_state(%__MODULE__{handle: handle, group: group}), do: Native.hard_state(handle, group)

  @doc "As `hard_state/1`, raising `Duramen.Error`."
  @spec hard_state!(t) :: HardState.t() | nil
  def hard_state!(log), do: Error.unwrap!(hard_state(log))

  # -- durability

  @doc """
  Makes everything that was written durable, in all logs of the store, and returns how far that is.

      iex> log = Duramen.open!(new_dir())
      iex> Duramen.append!(log, [{1, "a"}], durability: :buffered)
      iex> {:ok, position} = Duramen.sync(log)
      iex> Duramen.durable(log) == {:ok, position}
      true
  """
  @spec sync(t) :: {:ok, position} | {:error, Error.t()}
  def sync(%__MODULE__{handle: handle}), do: Native.sync(handle)

  @doc "As `sync/1`, raising `Duramen.Error`."
  @spec sync!(t) :: position
  def sync!(log), do: Error.unwrap!(sync(log))

  @doc "The position up to which everything survives a power cut. From memory."
  @spec durable(t) :: {:ok, position} | {:error, Error.t()}
  def durable(%__MODULE__{handle: handle}), do: Native.durable(handle)

  @doc "As `durable/1`, raising `Duramen.Error`."
  @spec durable!(t) :: position
  def durable!(log), do: Error.unwrap!(durable(log))

  @doc """
  Waits until all that was written so far, to any log of the store, is durable, for at most `timeout` milliseconds.

  It asks for no flush: some process must call `sync/1`, or write durably. Only the calling process waits, it holds no
  scheduler.
  """
  @spec wait(t, timeout) :: :ok | {:error, Error.t()}
  def wait(%__MODULE__{handle: handle}, timeout \\ 5000) when timeout == :infinity or is_u64(timeout) do
    with {:ok, position} <- Native.accepted(handle) do
      wait_for(handle, position, timeout, System.monotonic_time(:millisecond), 1)
    end
  end

  @doc "As `wait/2`, raising `Duramen.Error`."
  @spec wait!(t, timeout) :: :ok
  def wait!(log, timeout \\ 5000), do: Error.unwrap!(wait(log, timeout))

  # A wait inside the native library would hold a dirty scheduler, and ten of them could keep out the very call they wait
  # for. So it looks, in growing intervals.
  defp wait_for(handle, position, timeout, begun, pause) do
    left = if timeout == :infinity, do: pause, else: begun + timeout - System.monotonic_time(:millisecond)

    case Native.check_durable(handle, position) do
      {:error, %Error{code: :timeout}} when left <= 0 ->
        {:error, %Error{code: :timeout, message: "timed out after #{timeout} ms"}}

      {:error, %Error{code: :timeout}} ->
        Process.sleep(min(pause, left))
        wait_for(handle, position, timeout, begun, min(2 * pause, 16))

      answer ->
        answer
    end
  end

  # -- the end

  @doc """
  Ends the opening that this log came from: flushes, and reports what could not be flushed. Every handle that came from it
  answers `:closed` from then on. Where another opening of this VM shares the store, that one goes on.

      iex> log = Duramen.open!(new_dir())
      iex> Duramen.close(log)
      :ok
      iex> {:error, %Duramen.Error{code: :closed}} = Duramen.append(log, [{1, "too late"}])
      iex> Duramen.Error.codes()[:closed]
      9
  """
  @spec close(t) :: :ok | {:error, Error.t()}
  def close(%__MODULE__{handle: handle}), do: Native.close(handle)

  @doc "As `close/1`, raising `Duramen.Error`."
  @spec close!(t) :: :ok
  def close!(log), do: Error.unwrap!(close(log))
end
