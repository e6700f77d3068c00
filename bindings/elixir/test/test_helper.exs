ExUnit.start()

defmodule Duramen.Case do
  @moduledoc "A test with a directory of its own, in which `log` is an open log."
  use ExUnit.CaseTemplate

  using do
    quote do
      import Duramen.Case
      alias Duramen.{Entry, Error, HardState, Store}
      @moduletag :tmp_dir
    end
  end

  setup %{tmp_dir: tmp_dir} do
    dir = Path.join(tmp_dir, "store")
    {:ok, dir: dir, log: Duramen.open!(dir)}
  end

  @doc "The code of a failed call."
  def code({:error, %Duramen.Error{code: code, message: message}}) when is_binary(message), do: code

  @doc "Runs `code` in a VM of its own that has this package, and returns what it printed, standard error included."
  def in_another_vm(code) do
    {output, 0} = System.cmd("elixir", ["-pa", Mix.Project.compile_path(), "-e", code], stderr_to_stdout: true)
    output
  end

  @doc "Looks again and again until `fun` answers true, for at most five seconds."
  def eventually(fun, tries \\ 500) do
    cond do
      fun.() -> true
      tries == 0 -> false
      true -> Process.sleep(10) && eventually(fun, tries - 1)
    end
  end
end
