[
  inputs: ["*.exs", ".formatter.exs", "{lib,test}/**/*.{ex,exs}", "../../tests/drivers/elixir/*.ex"],
  line_length: 120
]
