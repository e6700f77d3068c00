defmodule Duramen.HandleTest do
  use Duramen.Case, async: true

  test "a closed log answers closed, whatever is asked", %{log: log} do
    Duramen.append!(log, [{1, "a"}])
    assert Duramen.close(log) == :ok

    for answer <- [
          Duramen.append(log, [{1, "b"}]),
          Duramen.append(log, [%Entry{index: 2, term: 1, data: "b"}]),
          Duramen.append(log, []),
          Duramen.set_hard_state(log, %HardState{term: 1}),
          Duramen.get(log, 1),
          Duramen.read(log, 1..1),
          Duramen.read(log, 1..0//1),
          Duramen.bounds(log),
          Duramen.last(log),
          Duramen.term(log, 1),
          Duramen.count(log),
          Duramen.hard_state(log),
          Duramen.sync(log),
          Duramen.durable(log),
          Duramen.wait(log),
          Duramen.close(log)
        ] do
      assert code(answer) == :closed
    end
  end

  test "closing a store closes its logs, and the other way round", %{tmp_dir: tmp_dir} do
    store = Store.open!(Path.join(tmp_dir, "many"))
    [one, two] = [Store.log(store, 1), Store.log(store, 2)]
    Duramen.append!(one, [{1, "a"}], durability: :buffered)
    assert Duramen.close(one) == :ok
    assert code(Duramen.append(two, [{1, "a"}])) == :closed
    assert code(Store.sync(store)) == :closed
    assert code(Store.close(store)) == :closed
    assert_raise Error, fn -> Store.close!(store) end
  end

  test "opening again while the old handle lives shares the store", %{log: old, dir: dir} do
    new = Duramen.open!(dir)
    assert Duramen.append!(old, [{1, "by old"}]) == 1
    assert Duramen.append!(new, [{1, "by new"}]) == 2
    assert Duramen.close(old) == :ok
    assert code(Duramen.append(old, [{1, "too late"}])) == :closed
    assert Duramen.append!(new, [{1, "goes on"}]) == 3
    assert for(entry <- Duramen.read!(new, 1..3), do: entry.data) == ["by old", "by new", "goes on"]
    assert code(Duramen.open(dir, exclusive: true)) == :locked
    Duramen.close!(new)
    assert Duramen.open!(dir, exclusive: true) |> Duramen.count!() == 3
  end

  test "another process of the system is refused while the store is open", %{log: log, dir: dir} do
    program = "{:error, error} = Duramen.open(#{inspect(dir)}); IO.puts(error.code); IO.write(error.message)"
    assert [locked, message] = program |> in_another_vm() |> String.split("\n")
    assert locked == "locked"
    assert message =~ "is locked by process #{System.pid()}"
    Duramen.close!(log)
    assert in_another_vm("Duramen.open!(#{inspect(dir)}) |> Duramen.append!([{1, \"a\"}]) |> IO.write()") == "1"
    assert Duramen.open!(dir) |> Duramen.count!() == 1
  end

  test "the store is let go when the last process that knows it ends", %{tmp_dir: tmp_dir} do
    dir = Path.join(tmp_dir, "collected")

    test = self()

    {owner, monitor} =
      spawn_monitor(fn ->
        log = Duramen.open!(dir, exclusive: true)
        send(test, :opened)
        receive do: (:end -> Duramen.append!(log, [{1, "a"}], durability: :buffered))
      end)

    assert_receive :opened, 5000
    assert code(Duramen.open(dir)) == :locked
    send(owner, :end)
    assert_receive {:DOWN, ^monitor, _, _, :normal}
    assert eventually(fn -> Duramen.open(dir, exclusive: true) |> count() == {:ok, 1} end)
  end

  test "many handles are collected without anybody waiting for the disk", %{tmp_dir: tmp_dir} do
    # Each holds a store that was written to, so that its end writes to the disk.
    {collector, monitor} =
      spawn_monitor(fn ->
        for n <- 1..30 do
          log = Duramen.open!(Path.join(tmp_dir, "store#{n}"), exclusive: true)
          Duramen.append!(log, [{1, "a"}])
        end

        :erlang.garbage_collect()
      end)

    assert_receive {:DOWN, ^monitor, _, ^collector, :normal}, 60_000

    for n <- 1..30 do
      dir = Path.join(tmp_dir, "store#{n}")
      assert eventually(fn -> Duramen.open(dir, exclusive: true) |> count() == {:ok, 1} end)
    end
  end

  defp count({:ok, log}), do: Duramen.count(log)
  defp count(refused), do: refused

  test "a log keeps its store open when only the log is left", %{tmp_dir: tmp_dir} do
    log = Store.log(Store.open!(Path.join(tmp_dir, "kept")), 3)
    :erlang.garbage_collect()
    assert Duramen.append(log, [{1, "a"}]) == {:ok, 1}
  end

  test "printed handles show their group, and nothing that is inside", %{log: log, dir: dir} do
    assert inspect(log) == "#Duramen<group: 0, ...>"
    assert inspect(Store.open!(dir)) == "#Duramen.Store<...>"
  end
end
