defmodule DuramenTest do
  use Duramen.Case, async: true

  @index_max 0xFFFF_FFFF_FFFF_FFFE

  describe "append" do
    test "gives an untouched log the indexes from 1 on", %{log: log} do
      assert Duramen.append(log, [{1, "a"}]) == {:ok, 1}
      assert Duramen.append(log, [{1, "b"}, {2, "c"}]) == {:ok, 3}
      assert Duramen.read(log, 1..3) |> terms_and_data() == [{1, 1, "a"}, {2, 1, "b"}, {3, 2, "c"}]
    end

    test "goes on behind entries that named their index, 0 included", %{log: log} do
      assert Duramen.append(log, [%Entry{index: 0, term: 1, data: "a"}, %Entry{index: 1, term: 1, data: "b"}]) ==
               {:ok, 1}

      assert Duramen.append(log, [%Entry{term: 1, kind: 9, data: "c"}]) == {:ok, 2}
      assert Duramen.get!(log, 2) == %Entry{index: 2, term: 1, kind: 9, data: "c"}
    end

    test "of nothing does nothing", %{log: log} do
      assert Duramen.append(log, []) == {:ok, nil}
      assert Duramen.bounds(log) == {:ok, nil}
    end

    test "keeps every byte of every size", %{log: log} do
      sizes = [0, 1, 63, 64, 65, 4055, 4056, 4057, 100_000, 1_000_003]
      payloads = for size <- sizes, do: :rand.bytes(size)
      assert Duramen.append(log, for(data <- payloads, do: {1, data})) == {:ok, length(sizes)}
      assert for(entry <- Duramen.read!(log, 1..length(sizes)), do: entry.data) == payloads
      assert for(index <- 1..length(sizes), do: Duramen.get!(log, index).data) == payloads
    end

    test "takes iodata, and parts of larger binaries", %{log: log} do
      <<_::binary-size(10), part::binary-size(100), _::binary>> = :rand.bytes(1000)
      Duramen.append!(log, [{1, ["a", ?b, ["c" | "d"]]}, {1, part}])
      assert Duramen.get!(log, 1).data == "abcd"
      assert Duramen.get!(log, 2).data == part
    end

    test "reaches the highest index and no further", %{log: log} do
      top = [%Entry{index: @index_max, term: 1, data: "top"}]
      assert Duramen.append(log, top) == {:ok, @index_max}
      assert Duramen.read!(log, @index_max..@index_max) == [%Entry{index: @index_max, term: 1, kind: 0, data: "top"}]
      assert Duramen.stream(log) |> Enum.count() == 1
      assert code(Duramen.append(log, [{1, "above"}])) == :invalid_argument
      assert code(Duramen.append(log, [{1, "above"}, {1, "and more"}])) == :invalid_argument
      assert code(Duramen.get(log, @index_max + 1)) == :invalid_argument
    end

    test "is refused as a whole", %{log: log} do
      Duramen.append!(log, [{1, "a"}])
      assert code(Duramen.append(log, [%Entry{index: 2, term: 1, data: "b"}, %Entry{index: 4, term: 1, data: "d"}]))
      assert Duramen.bounds!(log) == 1..1//1
    end
  end

  describe "read" do
    setup %{log: log} do
      Duramen.append!(log, for(n <- 1..10, do: {n, String.duplicate("x", 100)}))
      :ok
    end

    test "includes the end of its range", %{log: log} do
      assert indexes(Duramen.read(log, 3..5)) == [3, 4, 5]
      assert indexes(Duramen.read(log, 10..10)) == [10]
    end

    test "of an empty range is empty", %{log: log} do
      assert Duramen.read(log, 3..2//1) == {:ok, []}
      assert Duramen.read(log, 0..-1//1) == {:ok, []}
      assert Duramen.read(log, 9..1//1) == {:ok, []}
    end

    test "refuses another step", %{log: log} do
      assert code(Duramen.read(log, 5..3)) == :invalid_argument
      assert code(Duramen.read(log, 1..9//2)) == :invalid_argument
      assert code(Duramen.read(log, -1..3)) == :invalid_argument
      assert code(Duramen.read(log, 1..(@index_max + 1))) == :invalid_argument
    end

    test "stops at its limit, but not before the first entry", %{log: log} do
      assert indexes(Duramen.read(log, 1..10, limit: {:entries, 4})) == [1, 2, 3, 4]
      assert indexes(Duramen.read(log, 1..10, limit: {:bytes, 250})) == [1, 2]
      assert indexes(Duramen.read(log, 4..10, limit: {:bytes, 0})) == [4]
      assert indexes(Duramen.read(log, 1..10, limit: :none)) == Enum.to_list(1..10)
    end

    test "names an index that is not there", %{log: log} do
      assert {:error, %Error{code: :not_found, message: message}} = Duramen.read(log, 9..11)
      assert message =~ "no entry 11"
      assert code(Duramen.read(log, 0..3)) == :hole
      assert code(Duramen.get(log, 0)) == :hole
      assert code(Duramen.get(log, 11)) == :not_found
    end

    test "gives each entry bytes of its own, which keep nothing else alive", %{log: log} do
      for entry <- Duramen.read!(log, 1..10) do
        assert :binary.referenced_byte_size(entry.data) == byte_size(entry.data)
      end
    end
  end

  describe "stream" do
    test "reads page by page", %{log: log} do
      Duramen.append!(log, for(n <- 1..100, do: {1, <<n>>}))

      for limit <- [{:entries, 1}, {:entries, 7}, {:bytes, 3}, :none] do
        assert log |> Duramen.stream(nil, limit: limit) |> Enum.map(& &1.index) == Enum.to_list(1..100)
      end

      assert log |> Duramen.stream(98) |> Enum.map(& &1.index) == [98, 99, 100]
      assert log |> Duramen.stream(5..7) |> Enum.map(& &1.index) == [5, 6, 7]
      assert log |> Duramen.stream(5..4//1) |> Enum.to_list() == []
      assert log |> Duramen.stream(101) |> Enum.to_list() == []
      assert log |> Duramen.stream(1) |> Enum.take(2) |> length() == 2
    end

    test "of an empty log is empty", %{log: log} do
      assert log |> Duramen.stream() |> Enum.to_list() == []
      assert log |> Duramen.stream(1) |> Enum.to_list() == []
    end

    test "sees what is appended while it runs", %{log: log} do
      Duramen.append!(log, [{1, "a"}])

      seen =
        log
        |> Duramen.stream(1, limit: {:entries, 1})
        |> Enum.map(fn entry -> entry.index < 5 && Duramen.append!(log, [{1, "next"}]) end)

      assert length(seen) == 5
    end

    test "raises what a read answers", %{log: log} do
      Duramen.append!(log, [{1, "a"}])
      assert_raise Error, ~r/no entry 2/, fn -> log |> Duramen.stream(1..2, limit: :none) |> Enum.to_list() end
      assert_raise ArgumentError, fn -> Duramen.stream(log, 2..1) end
      Duramen.close!(log)
      assert_raise Error, ~r/closed/, fn -> log |> Duramen.stream() |> Enum.to_list() end
    end
  end

  test "bounds, last, term and count answer from memory", %{log: log} do
    assert {Duramen.bounds!(log), Duramen.last!(log), Duramen.count!(log)} == {nil, nil, 0}
    Duramen.append!(log, [%Entry{index: 5, term: 3, data: "e"}, %Entry{index: 6, term: 4, data: "f"}])
    assert {Duramen.bounds!(log), Duramen.last!(log), Duramen.count!(log)} == {5..6//1, {6, 4}, 2}
    assert {Duramen.term!(log, 5), Duramen.term!(log, 6)} == {3, 4}
    assert code(Duramen.term(log, 7)) == :not_found
    assert code(Duramen.term(log, 4)) == :hole
  end

  test "hard state tells nobody from number 0, and keeps numbers of 64 bits", %{log: log} do
    highest = 0xFFFF_FFFF_FFFF_FFFF

    for state <- [
          %HardState{term: 0},
          %HardState{term: 1, vote: 0},
          %HardState{term: 1, commit: 0},
          %HardState{term: highest, vote: highest, commit: highest}
        ] do
      assert Duramen.set_hard_state(log, state) == :ok
      assert Duramen.hard_state(log) == {:ok, state}
    end
  end

  test "groups keep their entries apart", %{dir: dir} do
    store = Store.open!(dir)
    logs = for group <- [0, 1, 0xFFFF_FFFF_FFFF_FFFF], do: Store.log(store, group)
    for log <- logs, do: assert(Duramen.append(log, [{1, inspect(log)}]) == {:ok, 1})
    for log <- logs, do: assert(Duramen.get!(log, 1).data == inspect(log))
  end

  describe "durability" do
    test "grows with a durable write and with sync", %{log: log} do
      Duramen.append!(log, [{1, "a"}])
      durable = Duramen.durable!(log)
      Duramen.append!(log, [{1, "b"}], durability: :buffered)
      assert Duramen.get!(log, 2).data == "b"
      synced = Duramen.sync!(log)
      assert synced > durable
      assert Duramen.durable!(log) == synced
    end

    test "wait ends when another process syncs", %{log: log} do
      Duramen.append!(log, [{1, "a"}], durability: :buffered)
      assert code(Duramen.wait(log, 0)) == :timeout
      assert code(Duramen.wait(log, 20)) == :timeout
      # More of them than there are dirty schedulers: none may keep the flush out.
      waiting = for _ <- 1..40, do: Task.async(fn -> Duramen.wait(log, :infinity) end)
      Process.sleep(20)
      Duramen.sync!(log)
      assert Enum.uniq(Task.await_many(waiting)) == [:ok]
      assert Duramen.wait(log) == :ok
    end

    test "of hard state may be buffered", %{log: log} do
      assert Duramen.set_hard_state(log, %HardState{term: 1}, durability: :buffered) == :ok
      assert code(Duramen.wait(log, 0)) == :timeout
    end
  end

  test "what was written is there when the store is opened again", %{log: log, dir: dir} do
    Duramen.append!(log, [{1, "a"}, {2, "b"}])
    Duramen.set_hard_state!(log, %HardState{term: 2, vote: 1})
    Duramen.close!(log)
    log = Duramen.open!(dir)
    assert Duramen.read(log, 1..2) |> terms_and_data() == [{1, 1, "a"}, {2, 2, "b"}]
    assert Duramen.hard_state!(log) == %HardState{term: 2, vote: 1}
    assert Duramen.append!(log, [{2, "c"}]) == 3
  end

  defp terms_and_data({:ok, entries}), do: for(entry <- entries, do: {entry.index, entry.term, entry.data})
  defp indexes({:ok, entries}), do: for(entry <- entries, do: entry.index)
end
