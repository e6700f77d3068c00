defmodule Duramen.ProcessTest do
  use Duramen.Case, async: true

  @processes 40
  @appends 25

  test "many processes append, and each gets indexes of its own", %{log: log, dir: dir} do
    # Half of them through another opening of the store.
    other = Duramen.open!(dir)

    appended =
      1..@processes
      |> Enum.map(fn n ->
        log = if rem(n, 2) == 0, do: log, else: other
        Task.async(fn -> for turn <- 1..@appends, do: append_some(log, n, turn) end)
      end)
      |> Task.await_many(60_000)
      |> List.flatten()

    assert appended |> Enum.map(&elem(&1, 0)) |> Enum.sort() == Enum.to_list(1..length(appended))
    stored = for entry <- Duramen.stream(log), do: {entry.index, entry.data}
    assert stored == Enum.sort(appended)
  end

  # One to three entries, as the pairs of index and data that must be found later.
  defp append_some(log, n, turn) do
    data = for part <- 1..(1 + rem(turn, 3)), do: "#{n} #{turn} #{part}"
    durability = if rem(turn, 5) == 0, do: :durable, else: :buffered
    last = Duramen.append!(log, for(data <- data, do: {1, data}), durability: durability)
    Enum.zip((last - length(data) + 1)..last, data)
  end

  test "a large append ends among many small ones", %{log: log} do
    small = for _ <- 1..20, do: spawn_link(fn -> append_for_ever(log) end)
    large = for _ <- 1..200, do: {1, String.duplicate("x", 50_000)}
    last = Duramen.append!(log, large)
    for pid <- small, do: Process.unlink(pid) && Process.exit(pid, :kill)
    assert log |> Duramen.stream((last - 199)..last) |> Enum.all?(&(byte_size(&1.data) == 50_000))
  end

  test "a killed writer leaves whole appends, and the others go on", %{log: log} do
    for _ <- 1..20 do
      {writer, monitor} = spawn_monitor(fn -> append_for_ever(log) end)
      Process.sleep(:rand.uniform(5))
      Process.exit(writer, :kill)
      assert_receive {:DOWN, ^monitor, _, _, :killed}
    end

    last = Duramen.append!(log, [{1, "the end"}])
    # The last writer's call may still have been under way when its process was gone already, and come in behind.
    Duramen.sync!(log)
    stored = for entry <- Duramen.stream(log), do: entry.data
    assert Enum.at(stored, last - 1) == "the end"
    assert stored |> List.delete_at(last - 1) |> Enum.chunk_every(3) |> Enum.uniq() == [["a", "b", "c"]]
  end

  test "closing while others append ends each of them with closed or an index", %{tmp_dir: tmp_dir} do
    dir = Path.join(tmp_dir, "closing")
    log = Duramen.open!(dir)
    writers = for _ <- 1..10, do: Task.async(fn -> append_until_refused(log, 0) end)
    Process.sleep(50)
    Duramen.close!(log)
    answers = Task.await_many(writers, 60_000)
    assert Enum.all?(answers, fn {code, _} -> code == :closed end)
    acknowledged = answers |> Enum.map(&elem(&1, 1)) |> Enum.max()
    assert Duramen.count!(Duramen.open!(dir)) >= acknowledged
  end

  defp append_for_ever(log) do
    Duramen.append!(log, [{1, "a"}, {1, "b"}, {1, "c"}], durability: :buffered)
    append_for_ever(log)
  end

  defp append_until_refused(log, last) do
    case Duramen.append(log, [{1, "x"}]) do
      {:ok, index} -> append_until_refused(log, index)
      {:error, error} -> {error.code, last}
    end
  end
end
