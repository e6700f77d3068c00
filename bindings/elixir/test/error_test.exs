defmodule Duramen.ErrorTest do
  use Duramen.Case, async: true
  alias Duramen.Native

  test "the table of codes is the library's" do
    assert Enum.map(Error.codes(), fn {name, number} -> {Atom.to_string(name), number} end) == Native.codes()
  end

  test "every code has a row in the documentation" do
    {:docs_v1, _, _, _, %{"en" => documentation}, _, _} = Code.fetch_docs(Error)
    for {name, number} <- Error.codes(), do: assert(documentation =~ "| `#{inspect(name)}` | #{number} |")
  end

  test "numbers that no log can have are refused by name", %{log: log} do
    too_large = 0x1_0000_0000_0000_0000

    for number <- [-1, too_large] do
      assert {:error, %Error{code: :invalid_argument, message: message}} = Duramen.append(log, [{number, "x"}])
      assert message =~ "term is #{number}"
      assert code(Duramen.append(log, [{1, "a"}, %Entry{term: number, data: "x"}])) == :invalid_argument
      assert code(Duramen.append(log, [%Entry{index: number, term: 1, data: "x"}])) == :invalid_argument
      assert code(Duramen.append(log, [%Entry{term: 1, kind: number, data: "x"}])) == :invalid_argument
      assert code(Duramen.get(log, number)) == :invalid_argument
      assert code(Duramen.term(log, number)) == :invalid_argument
      assert code(Duramen.set_hard_state(log, %HardState{term: number})) == :invalid_argument
      assert code(Duramen.set_hard_state(log, %HardState{term: 1, vote: number})) == :invalid_argument
      assert code(Duramen.set_hard_state(log, %HardState{term: 1, commit: number})) == :invalid_argument
    end

    assert code(Duramen.append(log, [%Entry{term: 1, kind: 256, data: ""}])) == :invalid_argument
    assert code(Duramen.append(log, [%Entry{index: 0xFFFF_FFFF_FFFF_FFFF, term: 1, data: ""}])) == :invalid_argument
    assert Duramen.bounds!(log) == nil
    assert Duramen.hard_state!(log) == nil
  end

  test "entries with and without an index do not mix", %{log: log} do
    with_index = %Entry{index: 1, term: 1, data: "a"}

    for other <- [{1, "b"}, %Entry{term: 1, data: "b"}] do
      assert code(Duramen.append(log, [with_index, other])) == :invalid_argument
      assert code(Duramen.append(log, [other, with_index])) == :invalid_argument
    end
  end

  test "wrong types and unknown options raise", %{log: log, dir: dir} do
    for wrong <- [
          fn -> Duramen.append(log, [{1, :atom}]) end,
          fn -> Duramen.append(log, [{:one, "a"}]) end,
          fn -> Duramen.append(log, ["a"]) end,
          fn -> Duramen.append(log, [{1, "a"}], durability: :maybe) end,
          fn -> Duramen.append(log, [{1, "a"}], unknown: 1) end,
          fn -> Duramen.get(log, "1") end,
          fn -> Duramen.read(log, 1) end,
          fn -> Duramen.read(log, 1..2, limit: 5) end,
          fn -> Duramen.set_hard_state(log, %HardState{term: nil}) end,
          fn -> Duramen.open(dir, unknown: 1) end,
          fn -> Duramen.open(dir, create: 1) end,
          fn -> Duramen.open(dir, segment_bytes: "1") end
        ] do
      assert_raise ArgumentError, wrong
    end

    for wrong <- [
          fn -> Duramen.append(log, {1, "a"}) end,
          fn -> Duramen.append(:log, [{1, "a"}]) end,
          fn -> Duramen.get(%{log | handle: :none} |> Map.from_struct(), 1) end,
          fn -> Duramen.wait(log, -1) end,
          fn -> Store.log(Store.open!(dir), -1) end
        ] do
      assert_raise FunctionClauseError, wrong
    end

    assert_raise ArgumentError, fn -> Duramen.get(%{log | handle: make_ref()}, 1) end
    assert Duramen.bounds!(log) == nil
  end

  test "limits of the options hold, and joining with others is refused", %{tmp_dir: tmp_dir} do
    dir = Path.join(tmp_dir, "limited")
    log = Duramen.open!(dir, entry_bytes_max: 10, batch_bytes_max: 15)
    assert Duramen.append(log, [{1, "ten bytes!"}]) == {:ok, 1}
    assert code(Duramen.append(log, [{1, "eleven byte"}])) == :too_large
    assert code(Duramen.append(log, [{1, "ten bytes!"}, {1, "6bytes"}])) == :too_large
    assert {:error, %Error{code: :options_conflict, message: message}} = Duramen.open(dir)
    assert message =~ "entry_bytes_max = 10"
    # The store stays open as long as some handle is used later on.
    assert Duramen.count!(log) == 1
    assert code(Duramen.open(Path.join(tmp_dir, "other"), segment_bytes: 1)) == :invalid_argument
    assert code(Duramen.open(Path.join(tmp_dir, "other"), groups_max: -1)) == :invalid_argument
  end

  test "opening says what is wrong with the path", %{tmp_dir: tmp_dir} do
    file = Path.join(tmp_dir, "file")
    File.write!(file, "something else")
    assert code(Duramen.open(file)) == :not_a_store
    assert code(Duramen.open(Path.join(tmp_dir, "missing"), create: false)) == :not_a_store
    assert code(Duramen.open(Path.join(tmp_dir, "no/parent"))) == :io
    assert code(Duramen.open("with\0zero")) == :io
  end

  test "`!` raises the error", %{log: log} do
    assert_raise Error, "group 0 has no entry 1: the log is empty", fn -> Duramen.get!(log, 1) end
    assert_raise Error, fn -> Duramen.append!(log, [{-1, ""}]) end
    assert_raise Error, fn -> Duramen.open!("") end
  end

  test "a panic inside is an error, and prints nothing" do
    assert {:error, %Error{code: :panic, message: message}} = Native.panic()
    assert message =~ "on purpose"

    output = in_another_vm("{:error, %{code: code}} = Duramen.Native.panic(); IO.write(code)")
    assert output == "panic"
  end
end
