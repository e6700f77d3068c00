defmodule Duramen.HardState do
  @moduledoc """
  The small state that a Raft node must find again after a restart.

    * `term`: the latest term the node has seen
    * `vote`: whom it voted for in that term; `nil` stands for nobody, 0 is a number like any other
    * `commit`: the highest index known to be committed, where the caller keeps it here
  """

  @enforce_keys [:term]
  defstruct [:term, :vote, :commit]

  @type t :: %__MODULE__{
          term: Duramen.term_number(),
          vote: non_neg_integer | nil,
          commit: Duramen.index() | nil
        }
end
