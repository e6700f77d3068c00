defmodule Duramen.Store do
  @moduledoc """
  One open directory: one write-ahead log on disk, shared by the logs of many Raft groups.

      iex> store = Duramen.Store.open!(new_dir())
      iex> {:ok, 1} = store |> Duramen.Store.log(7) |> Duramen.append([{1, "for group 7"}])
      iex> {:ok, 1} = store |> Duramen.Store.log(9) |> Duramen.append([{1, "for group 9"}])
      iex> Duramen.Store.close(store)
      :ok

  One operating-system process owns a directory; another one is refused with `:locked`. Inside this VM opening a
  directory again shares the store. An opening ends when it is closed, or some time after the last of its handles, stores
  and logs, was used for the last time, when it is garbage collected; then nothing is flushed.
  """

  alias Duramen.{Arguments, Error, Native}
  import Duramen.Arguments, only: [is_u64: 1]

  @enforce_keys [:handle]
  @derive {Inspect, only: []}
  defstruct [:handle]

  @typedoc "A handle of an open store. Any process may use it; what is in it is private."
  @type t :: %__MODULE__{handle: reference}

  @typedoc """
  How to open a store:

    * `:create`: whether a missing or empty directory becomes a new store; `true` by default. The directory's parent must
      exist
    * `:exclusive`: whether this opening refuses to share the store with another one of this VM; `false` by default
    * `:segment_bytes`: the size that files grow to, 16 KiB to 1 GiB; 64 MiB by default
    * `:entry_bytes_max`: the largest data of one entry, up to 1 GiB; 64 MiB by default
    * `:batch_bytes_max`: the largest data of one write, up to 1 GiB; 256 MiB by default
    * `:groups_max`: the largest number of groups, up to 2^20, which is the default
  """
  @type option ::
          {:create, boolean}
          | {:exclusive, boolean}
          | {:segment_bytes, pos_integer}
          | {:entry_bytes_max, pos_integer}
          | {:batch_bytes_max, pos_integer}
          | {:groups_max, pos_integer}

  @options [:create, :exclusive, :segment_bytes, :entry_bytes_max, :batch_bytes_max, :groups_max]

  @doc "Opens the store in `dir`, creating it if it is missing or empty. Reads it once from end to end."
  @spec open(Path.t(), [option]) :: {:ok, t} | {:error, Error.t()}
  def open(dir, opts \\ []) do
    opts = Keyword.validate!(opts, @options)

    with {:ok, options} <- options(opts),
         {:ok, handle} <- Native.open(IO.chardata_to_string(dir), options) do
      {:ok, %__MODULE__{handle: handle}}
    end
  end

  @doc "As `open/2`, raising `Duramen.Error`."
  @spec open!(Path.t(), [option]) :: t
  def open!(dir, opts \\ []), do: Error.unwrap!(open(dir, opts))

  @doc "The log of one group. Creates nothing: a group comes into being with its first write."
  @spec log(t, Duramen.group()) :: Duramen.t()
  def log(%__MODULE__{handle: handle}, group) when is_u64(group), do: %Duramen{handle: handle, group: group}

  @doc "Makes everything that was written durable, in all logs, and returns how far that is."
  @spec sync(t) :: {:ok, Duramen.position()} | {:error, Error.t()}
  def sync(%__MODULE__{handle: handle}), do: Native.sync(handle)

  @doc "As `sync/1`, raising `Duramen.Error`."
  @spec sync!(t) :: Duramen.position()
  def sync!(store), do: Error.unwrap!(sync(store))

  @doc """
  Ends this opening: flushes, and reports what could not be flushed. Every handle that came from it answers `:closed` from
  then on. Where another opening of this VM shares the store, that one goes on.
  """
  @spec close(t) :: :ok | {:error, Error.t()}
  def close(%__MODULE__{handle: handle}), do: Native.close(handle)

  @doc "As `close/1`, raising `Duramen.Error`."
  @spec close!(t) :: :ok
  def close!(store), do: Error.unwrap!(close(store))

  defp options(opts) do
    Enum.reduce_while(opts, {:ok, Map.new(@options, &{&1, nil})}, fn {name, value}, {:ok, options} ->
      cond do
        name not in [:create, :exclusive] and not is_u64(value) -> {:halt, Arguments.refuse(value, name)}
        name in [:create, :exclusive] and not is_boolean(value) -> raise ArgumentError, "#{name} must be true or false"
        true -> {:cont, {:ok, %{options | name => value}}}
      end
    end)
  end
end
