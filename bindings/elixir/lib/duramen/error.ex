defmodule Duramen.Error do
  @moduledoc """
  What every failed call answers, as `{:error, error}`, and what the `!` variants raise.

  `code` says what the caller can do; `message` says what happened and where, with both values where two disagree. The
  codes and their numbers are the same in every language that duramen speaks.

  | code | number | meaning |
  |---|---|---|
  | `:invalid_argument` | 1 | the call can never succeed as it is |
  | `:not_found` | 2 | there is no entry at this index: it lies at or past the end |
  | `:compacted` | 3 | the entry was purged |
  | `:not_contiguous` | 4 | an append would leave a gap, or overlap what is there |
  | `:too_large` | 5 | a limit of the options would be passed |
  | `:corrupt` | 6 | what was acknowledged as durable is not there as it was written |
  | `:poisoned` | 7 | an earlier write or flush failed; reads go on, opening again heals |
  | `:locked` | 8 | another process of the system, or an exclusive opening, owns the directory |
  | `:closed` | 9 | the store was closed |
  | `:no_space` | 10 | the disk is full; nothing was changed |
  | `:io` | 11 | the operating system reported an error |
  | `:unsupported_format` | 12 | the store was written by a newer version |
  | `:not_a_store` | 13 | the path holds something else |
  | `:timeout` | 14 | what was waited for did not happen in time; it may still happen |
  | `:forked` | 15 | the handle belongs to a parent process; never seen in Elixir |
  | `:no_memory` | 16 | memory could not be allocated; nothing was changed |
  | `:hole` | 17 | no entry was ever put at this index, or it was removed |
  | `:options_conflict` | 18 | the store is open in this VM with another value of an option |
  | `:panic` | 99 | an error inside duramen |
  """

  @codes [
    invalid_argument: 1,
    not_found: 2,
    compacted: 3,
    not_contiguous: 4,
    too_large: 5,
    corrupt: 6,
    poisoned: 7,
    locked: 8,
    closed: 9,
    no_space: 10,
    io: 11,
    unsupported_format: 12,
    not_a_store: 13,
    timeout: 14,
    forked: 15,
    no_memory: 16,
    hole: 17,
    options_conflict: 18,
    panic: 99
  ]

  @typedoc "The stable name of what went wrong."
  @type code :: unquote(@codes |> Keyword.keys() |> Enum.reverse() |> Enum.reduce(&{:|, [], [&1, &2]}))
  @type t :: %__MODULE__{code: code, message: String.t()}

  @enforce_keys [:code, :message]
  defexception [:code, :message]

  @doc """
  Every code with its number.

      iex> Duramen.Error.codes()[:not_contiguous]
      4
  """
  @spec codes() :: [{code, pos_integer}]
  def codes, do: @codes

  @doc false
  def invalid(detail), do: %__MODULE__{code: :invalid_argument, message: "invalid argument: " <> detail}

  @doc false
  def unwrap!(:ok), do: :ok
  def unwrap!({:ok, value}), do: value
  def unwrap!({:error, error}), do: raise(error)
end
