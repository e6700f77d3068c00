defmodule Duramen.Native do
  @moduledoc false
  # The functions of the native library, one for one. They take checked arguments and answer `:ok`, `{:ok, value}` or
  # `{:error, %Duramen.Error{}}`. Those that may touch the disk run on dirty I/O schedulers.

  @on_load :load

  @doc false
  def load do
    path = :filename.join([:code.priv_dir(:duramen), ~c"native", ~c"duramen_nif"])
    :erlang.load_nif(path, 0)
  end

  def open(_directory, _options), do: not_loaded()
  def close(_handle), do: not_loaded()
  def sync(_handle), do: not_loaded()
  def accepted(_handle), do: not_loaded()
  def durable(_handle), do: not_loaded()
  def check_durable(_handle, _position), do: not_loaded()

  def append(_handle, _group, _entries, _durable), do: not_loaded()
  def append_next(_handle, _group, _entries, _durable), do: not_loaded()
  def set_hard_state(_handle, _group, _state, _durable), do: not_loaded()

  def get(_handle, _group, _index), do: not_loaded()
  def read(_handle, _group, _from, _to, _limit), do: not_loaded()

  def bounds(_handle, _group), do: not_loaded()
  def last(_handle, _group), do: not_loaded()
  def term(_handle, _group, _index), do: not_loaded()
  def count(_handle, _group), do: not_loaded()
  def hard_state(_handle, _group), do: not_loaded()

  # For the tests: the table of codes as the library has it, and a panic inside.
  def codes, do: not_loaded()
  def panic, do: not_loaded()

  defp not_loaded, do: :erlang.nif_error(:not_loaded)
end
