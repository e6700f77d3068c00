defmodule Duramen.DocumentationTest do
  use Duramen.Case, async: true
  import ExUnit.CaptureIO

  doctest Duramen
  doctest Duramen.Store
  doctest Duramen.Error

  @readme Path.expand("../README.md", __DIR__)
  @readme_of_repository Path.expand("../../../README.md", __DIR__)

  test "the example of README.md runs" do
    assert run(example(@readme, "## Use")) =~ "set y = 2"
  end

  # A package that was taken out of the repository has only its own.
  if File.exists?(@readme_of_repository) do
    test "the ten lines of the repository's README.md run" do
      code = example(@readme_of_repository, "## Elixir")
      assert code |> String.split("\n", trim: true) |> length() <= 10
      assert run(code) =~ "set y = 2"
    end
  end

  # The first Elixir example under a heading.
  defp example(path, heading) do
    [_, section] = path |> File.read!() |> String.split("\n#{heading}\n")
    [_, code] = Regex.run(~r/```elixir\n(.*?)```/s, section |> String.split("\n## ") |> hd())
    code
  end

  defp run(code), do: capture_io(fn -> Code.eval_string(code) end)

  # What the examples in the documentation call.
  defp new_dir do
    dir = Path.join(System.tmp_dir!(), "duramen-doc-#{System.pid()}-#{System.unique_integer([:positive])}")
    on_exit(fn -> remove(dir) end)
    dir
  end

  # An example need not close its log. Then the store works on until the handle is collected.
  defp remove(dir, attempts \\ 200) do
    with {:error, _, _} when attempts > 1 <- File.rm_rf(dir) do
      Process.sleep(20)
      remove(dir, attempts - 1)
    end
  end
end
