# The Elixir driver of the tests across languages: reads commands, calls the public API, prints results. The contract is
# tests/README.md.

defmodule Duramen.Driver.Out do
  # Standard output without the VM's I/O server, which queues: a line is in the pipe when `line` returns, so a driver that is
  # killed afterwards has said it.

  def open do
    {:ok, file} = :file.open("/dev/stdout", [:raw, :append])
    Process.put(__MODULE__, file)
  end

  def line(text), do: :ok = :file.write(Process.get(__MODULE__), [text, ?\n])
end

defmodule Duramen.Driver.Text do
  @doc "The words of a line; a quoted one keeps its quotes and spaces. Bytes, not characters."
  def words(line), do: ~r/"(?:\\.|[^"\\])*"|[^ ]+/ |> Regex.scan(line) |> List.flatten()

  def number(word), do: String.to_integer(word)

  def optional("none"), do: nil
  def optional(word), do: number(word)

  def show(nil), do: "none"
  def show(number), do: Integer.to_string(number)

  def unquoted(word), do: word |> binary_part(1, byte_size(word) - 2) |> unescape(<<>>)

  defp unescape(<<"\\x", digits::binary-size(2), rest::binary>>, done) do
    unescape(rest, <<done::binary, String.to_integer(digits, 16)>>)
  end

  defp unescape(<<"\\", byte, rest::binary>>, done), do: unescape(rest, <<done::binary, byte>>)
  defp unescape(<<byte, rest::binary>>, done), do: unescape(rest, <<done::binary, byte>>)
  defp unescape(<<>>, done), do: done

  def quoted(data), do: [?", for(<<byte <- data>>, do: escape(byte)), ?"]

  defp escape(byte) when byte in [?\\, ?"], do: [?\\, byte]
  defp escape(byte) when byte in 0x20..0x7E, do: byte
  defp escape(byte), do: ["\\x", byte |> Integer.to_string(16) |> String.downcase() |> String.pad_leading(2, "0")]

  @doc "The data of entry `index` in `driver write`."
  def data_of(index) do
    for byte <- 0..rem(7919 * index, 300), into: <<>>, do: <<31 * index + 7 * byte>>
  end
end

defmodule Duramen.Driver do
  alias Duramen.{Entry, HardState, Store}
  alias Duramen.Driver.{Out, Text}

  def main(arguments) do
    Out.open()
    run(arguments)
  end

  defp run(["script"]) do
    :ok = :io.setopts(:standard_io, encoding: :latin1)
    script(nil)
  end

  defp run(["write", dir, from]), do: dir |> Duramen.open!() |> write(Text.number(from))
  defp run(["dump", dir]), do: print(dump(dir))

  defp run(_) do
    IO.puts(:stderr, "usage: driver script | driver write DIR FROM | driver dump DIR")
    System.halt(2)
  end

  # A list of lines, or an error.
  defp print({:error, error}), do: Out.line(["error ", Atom.to_string(error.code)])
  defp print(lines), do: Enum.each(lines, &Out.line/1)

  # -- script; `opened` is the store and the log that the commands so far have opened

  defp script(opened) do
    case IO.binread(:stdio, :line) do
      :eof -> :ok
      line when is_binary(line) -> line |> String.trim_trailing("\n") |> command(opened) |> script()
    end
  end

  defp command("", opened), do: opened
  defp command("#" <> _, opened), do: opened

  defp command(line, opened) do
    case {Text.words(line), opened} do
      {["open", dir], _} ->
        case Store.open(Path.join(System.get_env("DURAMEN_TEST_DIR", ""), dir)) do
          {:ok, store} -> select(store, 0)
          error -> print(error) && opened
        end

      {_, nil} ->
        print({:error, %Duramen.Error{code: :closed, message: "nothing was opened yet"}})
        nil

      {["log", group], {store, _}} ->
        select(store, Text.number(group))

      {words, {_, log}} ->
        print(answer(words, log))
        opened
    end
  end

  defp select(store, group) do
    print(["ok"])
    {store, Store.log(store, group)}
  end

  defp answer(["append" | entries], log), do: append(log, entries, [])
  defp answer(["append_buffered" | entries], log), do: append(log, entries, durability: :buffered)
  defp answer(["read", from, to], log), do: entries(log, Text.number(from)..(Text.number(to) - 1)//1)
  defp answer(["bounds"], log), do: bounds(log)
  defp answer(["hard_state"], log), do: hard_state(log)
  defp answer(["sync"], log), do: log |> Duramen.sync() |> done()
  defp answer(["close"], log), do: log |> Duramen.close() |> done()

  defp answer(["set_hard_state", term, vote, commit], log) do
    state = %HardState{term: Text.number(term), vote: Text.optional(vote), commit: Text.optional(commit)}
    log |> Duramen.set_hard_state(state) |> done()
  end

  defp done(:ok), do: ["ok"]
  defp done({:ok, _}), do: ["ok"]
  defp done(error), do: error

  defp append(log, words, opts) do
    entries =
      for [id, data] <- Enum.chunk_every(words, 2) do
        [index, term] = String.split(id, "@")
        %Entry{index: Text.number(index), term: Text.number(term), data: Text.unquoted(data)}
      end

    log |> Duramen.append(entries, opts) |> done()
  end

  defp bounds(log) do
    case Duramen.bounds(log) do
      {:ok, nil} -> ["bounds none"]
      {:ok, first..last} -> ["bounds #{first}..#{last + 1}"]
      error -> error
    end
  end

  defp entries(log, range) do
    with {:ok, entries} <- Duramen.read(log, range, limit: :none) do
      for entry <- entries, do: ["#{entry.index}@#{entry.term} ", Text.quoted(entry.data)]
    end
  end

  defp hard_state(log) do
    case Duramen.hard_state(log) do
      {:ok, nil} -> ["hard_state none"]
      {:ok, state} -> ["hard_state term=#{state.term} vote=#{Text.show(state.vote)} commit=#{Text.show(state.commit)}"]
      error -> error
    end
  end

  # -- write and dump

  defp write(log, index) do
    term = 1 + div(index, 100)
    Out.line("try #{index}")
    Duramen.append!(log, [%Entry{index: index, term: term, data: Text.data_of(index)}])
    Out.line("ack #{index}")

    if rem(index, 10) == 0 do
      Out.line("try_state #{index}")
      Duramen.set_hard_state!(log, %HardState{term: term, vote: index, commit: index - 1})
      Out.line("ack_state #{index}")
    end

    write(log, index + 1)
  end

  defp dump(dir) do
    with {:ok, log} <- Duramen.open(dir),
         {:ok, range} <- Duramen.bounds(log),
         [_ | _] = bounds <- bounds(log),
         entries when is_list(entries) <- entries(log, range || 0..-1//1),
         [_ | _] = hard_state <- hard_state(log),
         :ok <- Duramen.close(log) do
      bounds ++ entries ++ hard_state
    end
  end
end
