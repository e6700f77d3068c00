# The compiler of the native part stands here, and not in lib/, so that it exists before lib/ is compiled, and also when
# duramen is somebody else's dependency. It needs no hex package.
defmodule Mix.Tasks.Compile.DuramenNif do
  @moduledoc """
  Builds the native library with `cargo` and puts it into `priv/native`.

  Three environment variables change that:

    * `DURAMEN_NIF_PATH`: a library that is built already; it is copied, and neither Rust nor `cargo` is needed
    * `DURAMEN_NIF_DEBUG`: when set, builds without optimisation
    * `DURAMEN_CARGO_ARGS`: further arguments for `cargo rustc`, separated by spaces

  `CARGO_TARGET_DIR` and the other variables of `cargo` work as always.
  """
  use Mix.Task.Compiler

  @crate "duramen_nif"

  @impl true
  def run(_args) do
    # Into the priv/ of the sources, which Mix then links into _build. A file that is written into _build/…/priv
    # directly is lost as soon as a priv/ beside the sources exists.
    target = Path.join(File.cwd!(), "priv/native/#{@crate}.so")
    File.mkdir_p!(Path.dirname(target))
    result = install(prebuilt() || build(), target)
    Mix.Project.build_structure()
    result
  end

  @impl true
  def clean, do: File.rm_rf!("priv/native")

  defp prebuilt do
    path = System.get_env("DURAMEN_NIF_PATH", "")
    if path != "", do: path
  end

  defp build do
    cargo =
      System.find_executable("cargo") ||
        Mix.raise("duramen: cargo not found; install Rust 1.91 or newer, or set DURAMEN_NIF_PATH to a built library")

    profile = if System.get_env("DURAMEN_NIF_DEBUG", "") == "", do: ["--release"], else: []
    more = String.split(System.get_env("DURAMEN_CARGO_ARGS", ""))
    arguments = ~w(rustc --quiet --locked --lib --message-format=json-render-diagnostics) ++ profile ++ more

    case System.cmd(cargo, arguments, cd: "native/#{@crate}") do
      {messages, 0} -> library_in(messages) || Mix.raise("duramen: cargo built no library")
      {_, status} -> Mix.raise("duramen: cargo failed with status #{status}")
    end
  end

  # The last library that cargo says it made, or has made before.
  defp library_in(messages) do
    case Regex.scan(~r/"([^"]*lib#{@crate}\.so)"/, messages) do
      [] -> nil
      found -> found |> List.last() |> List.last()
    end
  end

  defp install(library, target) do
    if File.exists?(target) and File.read!(library) == File.read!(target) do
      {:noop, []}
    else
      # Never written over: a running VM may have mapped the old file.
      File.rm(target)
      File.cp!(library, target)
      {:ok, []}
    end
  end
end

defmodule Duramen.MixProject do
  use Mix.Project

  @version "0.1.0"

  def project do
    [
      app: :duramen,
      version: @version,
      elixir: "~> 1.14",
      description: "The durable log under a Raft node: one write-ahead log on disk, shared by many groups",
      compilers: [:duramen_nif] ++ Mix.compilers(),
      start_permanent: Mix.env() == :prod,
      deps: deps(),
      docs: [main: "readme", extras: ["README.md"]],
      package: [licenses: ["MIT", "Apache-2.0"], links: %{}]
    ]
  end

  def application, do: [extra_applications: []]

  # Packages are asked for only where Hex is there to fetch them. Without it, or with DURAMEN_NO_HEX set, there are none
  # to ask for, and everything still builds and passes its tests.
  defp deps do
    if Code.ensure_loaded?(Hex) and System.get_env("DURAMEN_NO_HEX") == nil do
      [{:ex_doc, "~> 0.34", only: :dev, runtime: false}]
    else
      []
    end
  end
end
