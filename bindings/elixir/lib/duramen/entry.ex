defmodule Duramen.Entry do
  @moduledoc """
  One entry of a log.

    * `index`: its place in the log; `nil` in an entry that is yet to be appended at whatever index is next
    * `term`: the term in which it was created
    * `kind`: the caller's own tag, 0 to 255; the log stores it and gives it no meaning
    * `data`: its bytes

  In what a log returns `index` is always a number, and `data` a binary.
  """

  @enforce_keys [:term, :data]
  defstruct [:index, :term, kind: 0, data: ""]

  @type t :: %__MODULE__{index: Duramen.index() | nil, term: Duramen.term_number(), kind: 0..255, data: iodata}
end
