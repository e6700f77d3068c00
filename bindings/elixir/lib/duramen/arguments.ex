defmodule Duramen.Arguments do
  @moduledoc false
  # What is checked before the native library is called. An argument of the wrong type raises `ArgumentError`, as a
  # mistake in the program does everywhere in Elixir; a number that no log can have is answered with
  # `:invalid_argument`, as in the other languages.

  alias Duramen.Error

  @u64_max 0xFFFF_FFFF_FFFF_FFFF

  defguard is_u64(value) when is_integer(value) and value >= 0 and value <= @u64_max
  defguard is_kind(value) when is_integer(value) and value >= 0 and value <= 255

  @doc "The answer to a value that is not in 0..2^64-1."
  def refuse(value, name) when is_integer(value) do
    {:error, Error.invalid("#{name} is #{value}, it must lie in 0..#{@u64_max}")}
  end

  def refuse(value, name), do: raise(ArgumentError, "#{name} must be an integer, got: #{inspect(value)}")

  @doc "The answer to a kind that is not in 0..255."
  def refuse_kind(value) when is_integer(value), do: {:error, Error.invalid("kind is #{value}, it must lie in 0..255")}
  def refuse_kind(value), do: raise(ArgumentError, "kind must be an integer, got: #{inspect(value)}")

  @doc "Whether a write is to be durable when it returns."
  def durable?(opts) do
    case Keyword.validate!(opts, durability: :durable)[:durability] do
      :durable -> true
      :buffered -> false
      other -> raise ArgumentError, "durability must be :durable or :buffered, got: #{inspect(other)}"
    end
  end

  @doc "The half-open bounds of a range."
  def bounds_of(first..last//1) when is_u64(first) and last < @u64_max do
    {:ok, {first, max(first, last + 1)}}
  end

  def bounds_of(first..last//1) do
    {:error, Error.invalid("#{first}..#{last} does not lie in 0..#{@u64_max - 1}")}
  end

  def bounds_of(_.._//_ = range) do
    {:error, Error.invalid("the step of #{inspect(range)} must be 1; an empty range is written first..last//1")}
  end

  def bounds_of(other), do: raise(ArgumentError, "expected a range, got: #{inspect(other)}")

  @doc "Where a read stops."
  def limit(:none), do: :none
  def limit(:default), do: :default
  def limit({unit, number}) when unit in [:bytes, :entries] and is_u64(number), do: {unit, number}

  def limit(other) do
    raise ArgumentError, "limit must be {:bytes, n}, {:entries, n} or :none, got: #{inspect(other)}"
  end

  @doc """
  The entries of an append as the native library takes them: with their indexes, or, where the log is to choose, without.
  """
  def entries([%Duramen.Entry{index: index} | _] = entries) when index != nil do
    convert(entries, &with_index/1, :append)
  end

  def entries(entries), do: convert(entries, &without_index/1, :append_next)

  defp convert(entries, one, append) do
    {append, Enum.map(entries, one)}
  catch
    {:error, _} = refused -> refused
  end

  defp with_index(%Duramen.Entry{index: index} = entry) when is_u64(index) do
    {term, kind, data} = payload(entry.term, entry.kind, entry.data)
    {index, term, kind, data}
  end

  defp with_index(%Duramen.Entry{index: index}) when index != nil, do: throw(refuse(index, "index"))
  defp with_index(_), do: throw(mixed())

  defp without_index({term, data}), do: payload(term, 0, data)
  defp without_index(%Duramen.Entry{index: nil} = entry), do: payload(entry.term, entry.kind, entry.data)
  defp without_index(%Duramen.Entry{}), do: throw(mixed())
  defp without_index(other), do: raise(ArgumentError, "expected {term, data} or an entry, got: #{inspect(other)}")

  defp mixed, do: {:error, Error.invalid("either all entries of an append have an index, or none has")}

  defp payload(term, kind, data) when is_u64(term) and is_kind(kind) and is_binary(data), do: {term, kind, data}
  defp payload(term, _, _) when not is_u64(term), do: throw(refuse(term, "term"))
  defp payload(_, kind, _) when not is_kind(kind), do: throw(refuse_kind(kind))
  defp payload(term, kind, data), do: {term, kind, IO.iodata_to_binary(data)}
end
